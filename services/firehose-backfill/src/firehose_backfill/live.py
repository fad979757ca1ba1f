"""The live tail: follows one relay at a time, from its own cursor, and changes to the next one when it fails.

Each relay counts its events by itself, so each has a cursor of its own, and so has each worker. Where there is none (at
another relay, at one that has begun anew, after a worker that died before it saved one) time says from where to go on:
a little before the last event that was seen. What arrives goes through a pipeline; a new one is made for every seq
space, and the old one is emptied before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import nats.errors

from firehose_backfill import metrics
from firehose_backfill.connection import Connection, NewSeqSpace
from firehose_backfill.cursor import CursorKey
from firehose_backfill.cursor_store import CursorStore
from firehose_backfill.firehose_log import FirehoseLog
from firehose_backfill.frame_intake import FrameIntake
from firehose_backfill.gaps import Continuity, Place, gap_before, newer
from firehose_backfill.letters import Letters
from firehose_backfill.passing_over import PassingOver
from firehose_backfill.pipeline import Pipeline
from firehose_backfill.relay import Relay
from firehose_backfill.start import Start, start
from firehose_backfill.window import event_older_than
from headwater.backoff import backoff_seconds
from headwater.bus.firehose import GapKind, LiveProgress
from headwater.cancelling import AGAIN_SECONDS
from headwater.clock import now_us
from headwater.errors import InvalidInputError, TransientError
from headwater.http_messages import MessageTooLargeError

log = logging.getLogger("firehose_backfill.live")

FAILURES_BEFORE_THE_NEXT: Final = 3
"""Connections in a row that brought no event, before another relay is followed."""
_RETRY_CAP: Final = 30.0
# With the relay's farewell within what is left before the next cancellation: after that no cursor would be saved.
_DRAIN_SECONDS: Final = AGAIN_SECONDS / 2
_PASS_SECONDS: Final = 0.2
# How much older than our clock's time a relay's newest event may be.
_RELAYS_LAG_US: Final = 300_000_000


class LiveTail:
    """One worker's live tail; ``make_pipeline`` makes a pipeline onto the live lane for a relay's name."""

    def __init__(
        self,
        relays: Sequence[Relay],
        make_pipeline: Callable[[str], Pipeline],
        intake: FrameIntake,
        letters: Letters,
        cursors: CursorStore,
        told: FirehoseLog,
        worker_id: int,
        worker_count: int,
    ) -> None:
        self._relays = relays
        self._make_pipeline = make_pipeline
        self._intake = intake
        self._letters = letters
        self._cursors = cursors
        self._told = told
        self._worker_id = worker_id
        self._worker_count = worker_count
        self._seen: Start | None = None
        self._passing = PassingOver()
        self.relay = relays[0]
        self.pipeline: Pipeline | None = None
        self.connection: Connection | None = None
        self.started_seq: int | None = None
        self.events = 0

    async def run(self) -> None:
        """Follow until cancelled. What is under way then is given a few seconds, and the cursor is saved."""
        await self._begin()
        while True:
            await self._follow()

    async def save(self) -> None:
        """Save up to where all is safe."""
        if self.pipeline is not None:
            await self._cursors.save(self._key(self.pipeline.relay), self.pipeline.watermark)

    async def _begin(self) -> None:
        tries = 0
        while True:
            try:
                self._seen = await self._where_to_begin()
            except (nats.errors.Error, OSError) as error:
                tries += 1
                log.warning("the cursors cannot be read: %s", error)
                await asyncio.sleep(backoff_seconds(tries, cap=5.0))
            else:
                break
        if self._seen is not None:
            self.relay = next((relay for relay in self._relays if relay.name == self._seen.relay), self.relay)

    async def _where_to_begin(self) -> Start | None:
        """Up to where all that is this worker's was seen; None at the very first start.

        When the workers began is noted before anything is read: who dies before the first cursor begins there again,
        and so does whoever takes over from one that never saved a cursor.
        """
        found = start(await self._cursors.all(), self._worker_count, self._worker_id)
        if found is not None:
            return found
        now = now_us()
        began_us = await self._cursors.began(self._worker_count, now)
        return None if began_us == now else Start(self.relay.name, None, began_us - _RELAYS_LAG_US)

    async def _follow(self) -> None:
        """Follow a relay for as long as it works and counts on; the next call is for the next one, or its new seqs."""
        relay = self.relay
        async with self._make_pipeline(relay.name) as pipeline:
            self.pipeline = pipeline
            try:
                await self._stay(relay, pipeline)
                await pipeline.drain()
            finally:
                self.events += pipeline.events
                pipeline.events = 0
                emptied = asyncio.create_task(pipeline.drain())
                await asyncio.wait({emptied}, timeout=_DRAIN_SECONDS)
                emptied.cancel()
                await self.save()

    async def _stay(self, relay: Relay, pipeline: Pipeline) -> None:
        failures = 0
        while failures < FAILURES_BEFORE_THE_NEXT or len(self._relays) == 1:
            try:
                await self._connect(relay, pipeline)
            except NewSeqSpace:
                if self._passing.too_far():
                    await asyncio.sleep(_PASS_SECONDS)
                    continue
                log.warning("%s counts its events anew", relay.name)
                metrics.DISCONNECTS.labels(relay.name, "new seqs").inc()
                self._other_seqs(relay)
                await asyncio.sleep(backoff_seconds(1))
                return
            except MessageTooLargeError as error:
                metrics.DISCONNECTS.labels(relay.name, "message too large").inc()
                log.warning("passing over what cannot be read: %s", error)
                await asyncio.sleep(_PASS_SECONDS)
                continue
            except (TransientError, InvalidInputError) as error:
                metrics.DISCONNECTS.labels(relay.name, "lost").inc()
                log.warning("not connected to %s: %s", relay.name, error)
            failures = 0 if self.connection and self.connection.first else failures + 1
            await asyncio.sleep(backoff_seconds(failures + 1, cap=_RETRY_CAP))
        self.relay = self._relays[(self._relays.index(relay) + 1) % len(self._relays)]
        self._other_seqs(self.relay)
        log.warning("following %s instead of %s", self.relay.name, relay.name)

    def _other_seqs(self, relay: Relay) -> None:
        """From here on seqs are of another space: only the time of what was seen still counts."""
        self._passing = PassingOver()
        self.started_seq = self.connection = None
        if self._seen is not None:
            self._seen = Start(relay.name, None, self._seen.seen_us)

    async def _connect(self, relay: Relay, pipeline: Pipeline) -> None:
        seen = self._seen
        last = None if seen is None or seen.relay != relay.name else seen.place
        self.connection = None
        if seen is not None and last is None:
            last = await event_older_than(relay, seen.seen_us)
        elif seen is None:
            # What comes from now on is to be had, also when this is not the connection that brings it.
            self._seen = Start(relay.name, None, now_us())
        cursor, passing = self._passing.cursor(last), self._passing.passing
        if cursor is None and seen is not None:
            cursor = 0  # the window begins later than what was seen ended
        seen_us = now_us() if seen is None else seen.seen_us

        async def on_gap(kind: GapKind, first: Place) -> None:
            await self._told.gap(gap_before(kind, relay.name, self._worker_id, last, first, seen_us, now_us()))

        continuity = Continuity(last, cursor, from_time=seen is not None, passing=passing)
        connection = Connection(relay, pipeline, self._intake, self._letters, continuity, on_gap)
        self.connection = connection
        try:
            await connection.read(cursor)
        finally:
            newest = newer(last, connection.last)
            if connection.first is not None:
                self._passing.came(connection.first)
                self.started_seq = connection.first.seq if self.started_seq is None else self.started_seq
                # At the head nothing counts but what came: a relay may be behind our clock.
                before_us = 0 if seen is None else seen.seen_us
                self._seen = Start(relay.name, newest, max(before_us, connection.seen_us))
            if connection.too_large:
                self._passing.ended(cursor, connection.last, newest)

    def _key(self, relay: str) -> CursorKey:
        return CursorKey(relay=relay, worker_count=self._worker_count, worker_id=self._worker_id)

    def progress(self, events_per_second: float) -> LiveProgress:
        """How far the tail is."""
        watermark = None if self.pipeline is None else self.pipeline.watermark
        connection = self.connection
        started = self.started_seq
        if started is None and connection is not None and connection.first is not None:
            started = self.started_seq = connection.first.seq
        at_us = None if watermark is None else watermark.at_us
        now = now_us()
        return LiveProgress(
            worker_id=self._worker_id,
            worker_count=self._worker_count,
            relay=self.relay.name,
            connected=connection is not None and connection.connected,
            started_seq=started,
            seq=None if watermark is None else watermark.seq,
            at_us=at_us,
            lag_seconds=None if at_us is None else max(now - at_us, 0) / 1e6,
            events_per_second=events_per_second,
            updated_at_us=now,
        )

    @property
    def events_taken(self) -> int:
        """Events taken since the start."""
        return self.events + (0 if self.pipeline is None else self.pipeline.events)
