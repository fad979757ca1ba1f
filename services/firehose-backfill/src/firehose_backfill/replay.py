"""The replay: what a relay's window holds from the cutoff on, up to where the live tail began, on a lane of its own.

It reads like the live tail does, and keeps its place like that, under a key of its own. Whatever it could not read in
one piece (the window moved on meanwhile, the relay began anew) it leaves to the crawl, by saying that the window does
not reach the cutoff.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue
from pydantic import ValidationError

from firehose_backfill import crawl_metrics as metrics
from firehose_backfill.connection import Connection, NewSeqSpace
from firehose_backfill.cursor import Cursor, relay_token
from firehose_backfill.frame_intake import FrameIntake
from firehose_backfill.gaps import Continuity, Place, newer
from firehose_backfill.letters import Letters
from firehose_backfill.passing_over import PassingOver
from firehose_backfill.pipeline import Pipeline
from firehose_backfill.relay import Relay
from firehose_backfill.window import event_older_than
from headwater.bus.firehose import FirehosePlan, GapKind, PieceState, ReplayProgress
from headwater.bus.firehose_store import FirehoseStore
from headwater.cancelling import cancel_and_wait
from headwater.clock import now_us
from headwater.errors import InvariantError, TransientError
from headwater.http_messages import MessageTooLargeError

log = logging.getLogger("firehose_backfill.replay")

_LOOK_SECONDS: Final = 0.5
_QUIET_SECONDS: Final = 5.0
"""A relay that has more to send does not pause that long, unless we make it wait."""
_LONG_QUIET_SECONDS: Final = 30.0
_CLOCKS_DIFFER_US: Final = 60_000_000
# One event's time is one host's word.
_LIVE_LOOKS: Final = 10


@dataclass(frozen=True)
class ReplayTools:
    """What a replay works with. ``make_pipeline`` makes one onto the replay lane for a relay's name."""

    relays: Sequence[Relay]
    make_pipeline: Callable[[str], Pipeline]
    intake: FrameIntake
    letters: Letters
    cursors: KeyValue
    store: FirehoseStore


class Replay:
    """Replays for one plan after the other."""

    def __init__(self, tools: ReplayTools) -> None:
        self._tools = tools
        self._passing: dict[tuple[str, str], PassingOver] = {}

    async def run(self, plan: FirehosePlan) -> None:
        """Replay from the saved place. Raises TransientError and nats errors; then it can be begun again."""
        relay = await self._followed()
        progress = await self._tools.store.replay()
        if progress is None or progress.plan_id != plan.plan_id or progress.relay != relay.name:
            progress = ReplayProgress(plan_id=plan.plan_id, state=PieceState.RUNNING, relay=relay.name)
        passing = self._passing.setdefault((plan.plan_id, relay.name), PassingOver())
        run = _Run(self._tools, plan, relay, progress, passing)
        await run.begin()
        await run.read()

    async def _followed(self) -> Relay:
        """The relay that the live tail follows: where that began is told in its seqs."""
        tails = await self._tools.store.live()
        name = tails[0].relay if tails else None
        return next((relay for relay in self._tools.relays if relay.name == name), self._tools.relays[0])


@dataclass
class _Run:
    """One connection's worth of a replay."""

    tools: ReplayTools
    plan: FirehosePlan
    relay: Relay
    progress: ReplayProgress
    passing: PassingOver
    start: Place | None = None
    before: int = 0
    began_at: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    @property
    def _key(self) -> str:
        return f"replay.{relay_token(self.relay.name)}.{self.plan.plan_id}"

    async def begin(self) -> None:
        """Find where to read from: the saved cursor, or the event in the window that is nearest to the cutoff."""
        self.before = self.progress.events
        saved = await self._saved()
        if saved is not None:
            self.start = Place(saved.seq, saved.at_us)
            await self._tell(state=PieceState.RUNNING, detail=None)
            return
        to_seq = await self._live_start()
        reaches = False
        if self.plan.cutoff_us is not None:
            self.start = await event_older_than(self.relay, self.plan.cutoff_us, to_seq)
            reaches = self.start is not None
        await self._tell(
            state=PieceState.RUNNING,
            detail=None,
            from_seq=None if self.start is None else self.start.seq,
            from_us=None if self.start is None else self.start.at_us,
            to_seq=to_seq,
            to_us=now_us(),
            reaches_cutoff=reaches,
        )

    async def read(self) -> None:
        """Read up to where the live tail began, and until all of it is safe on the bus."""
        try:
            await self._read()
        except BaseExceptionGroup as errors:  # the pipeline's tasks and ours fail together
            raise errors.exceptions[0] from None

    async def _read(self) -> None:
        async with self.tools.make_pipeline(self.relay.name) as pipeline:
            cursor = self.passing.cursor(self.start) or 0
            continuity = Continuity(self.start, cursor, passing=self.passing.passing)
            connection = Connection(
                self.relay, pipeline, self.tools.intake, self.tools.letters, continuity, self._on_gap
            )
            reading = asyncio.create_task(connection.read(cursor), name="read the window")
            try:
                await self._watch(connection, pipeline, reading)
                await cancel_and_wait([reading])
                await pipeline.drain()
                await self._save(pipeline)
            except NewSeqSpace:
                await self.tools.cursors.delete(self._key)
                await self._tell(reaches_cutoff=False, detail="the relay began anew")
                raise TransientError(f"{self.relay.name} counts anew") from None
            except MessageTooLargeError as error:
                await self._pass_over(cursor, connection, pipeline)
                raise TransientError(error.detail) from None
            finally:
                await cancel_and_wait([reading])
        await self._tell(detail=None)

    async def _pass_over(self, asked: int, connection: Connection, pipeline: Pipeline) -> None:
        """What came before a message that cannot be read is made safe; what was in it the crawl has to bring."""
        await pipeline.drain()
        await self._save(pipeline)
        if connection.first is not None:
            self.passing.came(connection.first)
        self.passing.ended(asked, connection.last, newer(self.start, connection.last))
        await self._tell(reaches_cutoff=False, detail="a message was too large to be read")

    async def _watch(self, connection: Connection, pipeline: Pipeline, reading: asyncio.Task[None]) -> None:
        """Keep place and progress until the end is reached."""
        loop = asyncio.get_running_loop()
        heard_at, last_seq, counted, live_looks = loop.time(), None, 0, 0
        while True:
            await asyncio.wait({reading}, timeout=_LOOK_SECONDS)
            if reading.done():
                reading.result()
            await self._save(pipeline)
            metrics.REPLAYED.inc(pipeline.events - counted)
            counted = pipeline.events
            await self._tell_rate(connection, pipeline)
            if not connection.connected or pipeline.full or self._seq(connection) != last_seq:
                heard_at, last_seq = loop.time(), self._seq(connection)
            # Also where a seq is known: it may be of seqs that the relay does not count any more.
            live_looks = live_looks + 1 if self._is_live(connection) else 0
            if live_looks == _LIVE_LOOKS:
                return
            to_seq = self.progress.to_seq
            if to_seq is None:
                await self._tell(to_seq=await self._live_start())
            elif last_seq is not None and last_seq >= to_seq:
                return
            quiet = loop.time() - heard_at
            if to_seq is None and quiet > _QUIET_SECONDS:
                return  # nothing has come since the live tail began, either
            if quiet > _LONG_QUIET_SECONDS:
                await self._tell(reaches_cutoff=False, detail="the relay sent no more")
                return

    def _is_live(self, connection: Connection) -> bool:
        """Whether the newest event is of after this replay began: by then all live tails had."""
        to_us = self.progress.to_us
        return to_us is not None and connection.last is not None and connection.last.at_us > to_us + _CLOCKS_DIFFER_US

    @staticmethod
    def _seq(connection: Connection) -> int | None:
        return None if connection.last is None else connection.last.seq

    async def _on_gap(self, kind: GapKind, first: Place) -> None:
        """What was to come next is not in the window any more: the crawl has to bring it."""
        log.warning("the replay of %s lost its place (%s) before seq %d", self.relay.name, kind.value, first.seq)
        await self._tell(reaches_cutoff=False, detail=f"the window moved on ({kind.value})")

    async def _live_start(self) -> int | None:
        """The first seq that every live tail has; None where one has seen nothing yet, or follows another relay."""
        tails = await self.tools.store.live()
        # Tails of a former layout of workers are not followed any more.
        present = [tail for tail in tails if tail.worker_id < tails[0].worker_count]
        starts = [tail.started_seq if tail.relay == self.relay.name else None for tail in present]
        known = [seq for seq in starts if seq is not None]
        return max(known) if known and len(known) == len(starts) else None

    async def _saved(self) -> Cursor | None:
        try:
            entry = await self.tools.cursors.get(self._key)
        except KeyNotFoundError:
            return None
        try:
            return Cursor.model_validate_json(entry.value or b"")
        except ValidationError as error:
            raise InvariantError(f"the cursor {self._key} cannot be read") from error

    async def _save(self, pipeline: Pipeline) -> None:
        mark = pipeline.watermark
        if mark.seq is None or mark.at_us is None or mark.seq == self.progress.seq:
            return
        cursor = Cursor(seq=mark.seq, at_us=mark.at_us, saved_at_us=now_us())
        await self.tools.cursors.put(self._key, cursor.model_dump_json().encode())
        await self._tell(seq=mark.seq, at_us=mark.at_us)

    async def _tell_rate(self, connection: Connection, pipeline: Pipeline) -> None:
        seconds = max(asyncio.get_running_loop().time() - self.began_at, 1e-3)
        first, last, to_seq = connection.first, connection.last, self.progress.to_seq
        left = None
        if first is not None and last is not None and to_seq is not None and last.seq > first.seq:
            left = max(to_seq - last.seq, 0) / (last.seq - first.seq) * seconds
        done = None
        if last is not None and to_seq is not None and self.progress.from_seq is not None:
            done = (last.seq - self.progress.from_seq) / max(to_seq - self.progress.from_seq, 1)
        metrics.tell_progress("replay", done, left)
        rate = pipeline.events / seconds
        await self._tell(events=self.before + pipeline.events, events_per_second=rate, seconds_left=left)

    async def _tell(self, **changes: Any) -> None:
        self.progress = self.progress.model_copy(update=changes | {"updated_at_us": now_us()})
        await self.tools.store.put_replay(self.progress)
