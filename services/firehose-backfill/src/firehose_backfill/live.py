"""The live tail: follows one relay at a time, from its own cursor, and changes to the next one when it fails.

Each relay counts its events by itself, so each has a cursor of its own, and so has each worker. What arrives goes
through a pipeline; a new one is made for every seq space, and the old one is emptied before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import nats.errors

from firehose_backfill import metrics
from firehose_backfill.connection import Connection, NewSeqSpace
from firehose_backfill.cursor import Cursor, CursorKey, start_cursor
from firehose_backfill.cursor_store import CursorStore
from firehose_backfill.firehose_log import FirehoseLog
from firehose_backfill.frame_intake import FrameIntake
from firehose_backfill.gaps import Continuity, Place, gap_before, rewound
from firehose_backfill.letters import Letters
from firehose_backfill.pipeline import Pipeline
from firehose_backfill.relay import Relay
from headwater.backoff import backoff_seconds
from headwater.bus.firehose import GapKind, LiveProgress
from headwater.clock import now_us
from headwater.errors import InvalidInputError, TransientError

log = logging.getLogger("firehose_backfill.live")

FAILURES_BEFORE_THE_NEXT: Final = 3
"""Connections in a row that brought no event, before another relay is followed."""
_RETRY_CAP: Final = 30.0
_DRAIN_SECONDS: Final = 5.0
# In place of a relay's name: where its former seqs ended, until an event of the new ones has come.
_FORMER: Final = ""


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
        self._places: dict[str, Place] = {}
        self._resume: int | None = None
        self.relay = relays[0]
        self.pipeline: Pipeline | None = None
        self.connection: Connection | None = None
        self.started_seq: int | None = None
        self.events = 0

    async def run(self) -> None:
        """Follow until cancelled. What is under way then is given a few seconds, and the cursor is saved."""
        self._remember(await self._read_cursors())
        while True:
            await self._follow()

    async def save(self) -> None:
        """Save up to where all is safe."""
        if self.pipeline is not None:
            await self._cursors.save(self._key(self.pipeline.relay), self.pipeline.watermark)

    async def _read_cursors(self) -> dict[CursorKey, Cursor]:
        tries = 0
        while True:
            try:
                return await self._cursors.all()
            except (nats.errors.Error, OSError) as error:
                tries += 1
                log.warning("the cursors cannot be read: %s", error)
                await asyncio.sleep(backoff_seconds(tries, cap=5.0))

    def _remember(self, saved: dict[CursorKey, Cursor]) -> None:
        """Take up where the workers were at each relay, and begin at the one that was followed last."""
        for name in {key.relay for key in saved}:
            cursor = start_cursor(saved, self._key(name))
            if cursor is not None:
                self._places[name] = Place(cursor.seq, cursor.at_us)
        followed = {key.relay: cursor.saved_at_us for key, cursor in sorted(saved.items(), key=_saved_at)}
        self.relay = max(self._relays, key=lambda relay: followed.get(relay.name, 0))

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
            except NewSeqSpace as space:
                log.warning("%s counts its events anew", relay.name)
                metrics.DISCONNECTS.labels(relay.name, "new seqs").inc()
                # What its first event was, if one has come, is asked for again; otherwise the head is.
                self._resume = None if space.first_seq is None else max(space.first_seq - 1, 0)
                last = self._places.pop(relay.name, None)
                if space.first_seq is None and last is not None:
                    # Nothing says what was between; the first event from the head will.
                    self._places[_FORMER] = last
                return
            except (TransientError, InvalidInputError) as error:
                metrics.DISCONNECTS.labels(relay.name, "lost").inc()
                log.warning("not connected to %s: %s", relay.name, error)
            failures = 0 if self.connection and self.connection.first else failures + 1
            await asyncio.sleep(backoff_seconds(failures + 1, cap=_RETRY_CAP))
        self.relay = self._relays[(self._relays.index(relay) + 1) % len(self._relays)]
        log.warning("following %s instead of %s", self.relay.name, relay.name)

    async def _connect(self, relay: Relay, pipeline: Pipeline) -> None:
        last = self._places.get(relay.name)
        elsewhere = [place.at_us for name, place in self._places.items() if name != relay.name]
        later = [at_us for at_us in elsewhere if last is None or at_us > last.at_us]
        resume = self._resume
        elsewhere_us = max(later, default=None) if resume is None else None

        async def on_gap(kind: GapKind, first: Place) -> None:
            covered_us = elsewhere_us if elsewhere_us is not None else last.at_us if last is not None else now_us()
            await self._told.gap(gap_before(kind, relay.name, self._worker_id, last, first, covered_us, now_us()))

        continuity = Continuity(last, elsewhere_us)
        connection = Connection(relay, pipeline, self._intake, self._letters, continuity, on_gap)
        self.connection = connection
        try:
            await connection.read(rewound(last) if resume is None else resume)
        finally:
            if self.started_seq is None and connection.first is not None:
                self.started_seq = connection.first.seq
            if connection.first is not None:
                self._resume = None
            if connection.last is not None:
                self._reached(relay, connection.last)

    def _reached(self, relay: Relay, place: Place) -> None:
        before = self._places.get(relay.name)
        if before is None or place.seq > before.seq:
            self._places[relay.name] = place
        self._places.pop(_FORMER, None)

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


def _saved_at(item: tuple[CursorKey, Cursor]) -> int:
    return item[1].saved_at_us
