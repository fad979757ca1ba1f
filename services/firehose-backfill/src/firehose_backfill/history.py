"""The historical part of the firehose: the plan's replay and crawl, and the gaps, until all is in Postgres.

Only the primary worker does this, after its live tail has begun: what happens from then on comes by that. Pieces keep
their place on the bus, so pausing one is cancelling it, and resuming one, after a crash as well, is beginning it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from nats.js import JetStreamContext

from firehose_backfill import crawl_metrics as metrics
from firehose_backfill.crawl import Crawl, CrawlTools
from firehose_backfill.filing import BUS_AWAY, Scope
from firehose_backfill.gap_closing import GapClosing
from firehose_backfill.history_waits import HistoryWaits
from firehose_backfill.outcomes import Outcomes
from firehose_backfill.statuses import Statuses
from headwater.backoff import backoff_seconds
from headwater.bus.firehose import (
    CrawlProgress,
    FirehosePlan,
    LiveProgress,
    PieceState,
    ReplayProgress,
    history_state,
)
from headwater.bus.firehose_store import FirehoseStore
from headwater.bus.streams import STREAM_REPLAY
from headwater.bus.subjects import RequestLane
from headwater.cancelling import Group, cancel_and_wait
from headwater.clock import now_us
from headwater.errors import InvalidInputError, TransientError

log = logging.getLogger("firehose_backfill.history")

_LOOK_SECONDS: Final = 0.5
_RETRY_CAP: Final = 30.0
_PATIENT_SECONDS: Final = 5.0
"""All workers of a stack that starts have begun by then."""


class ReplayPiece(Protocol):
    """What replays the relay's window."""

    async def run(self, plan: FirehosePlan) -> None:
        """Replay from the saved place until the live tail's beginning is reached, and tell how far it is."""
        ...


class History:
    """Follows the plan on the bus. ``run`` goes on until it is cancelled; an error of ours ends it."""

    def __init__(
        self,
        js: JetStreamContext,
        store: FirehoseStore,
        replay: ReplayPiece,
        crawls: CrawlTools,
        outcomes: Outcomes,
        statuses: Statuses,
    ) -> None:
        self._js = js
        self._store = store
        self._replay = replay
        self._crawls = crawls
        self._outcomes = outcomes
        self._statuses = statuses

    async def run(self) -> None:
        """Do what the plan says, and begin anew whenever it changes."""
        followed: FirehosePlan | None = None
        work: asyncio.Task[None] | None = None
        try:
            while True:
                plan = await self._read_plan(followed)
                if plan is not None and plan != followed:
                    await _end(work)
                    followed, work = plan, asyncio.create_task(self._pursue(plan), name="history")
                if work is not None and work.done():
                    work.result()
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            await _end(work)

    async def _read_plan(self, otherwise: FirehosePlan | None) -> FirehosePlan | None:
        try:
            return (await self._store.plan())[0]
        except BUS_AWAY as error:
            log.debug("the plan cannot be read: %s", error)
            return otherwise

    async def _pursue(self, plan: FirehosePlan) -> None:
        if plan.paused:
            await _persist("pausing", lambda: self._mark_paused(plan))
            return
        waits = HistoryWaits(self._store, plan)
        await _persist("the live tail", lambda: self._live_tail_began(waits))
        gaps = GapClosing(self._crawls, self._store, self._statuses)
        try:
            async with Group() as group:
                group.create_task(_persist("the gaps", gaps.run, waits.gap_crawl))
                if plan.days:
                    group.create_task(_persist("the replay", lambda: self._replay_window(plan), waits.replay))
                    group.create_task(_persist("the crawl", lambda: self._crawl(plan), waits.crawl))
                    group.create_task(_persist("the end", lambda: self._tell_end(plan)))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _live_tail_began(self, waits: HistoryWaits) -> None:
        """Wait until every worker follows the relay: what comes after that is nobody else's."""
        told: set[int] = set()
        began = asyncio.get_running_loop().time()
        while missing := _without_live_tail(await self._store.live()):
            if missing != told and asyncio.get_running_loop().time() - began > _PATIENT_SECONDS:
                why = f"no live tail of worker {', '.join(map(str, sorted(missing)))} yet"
                log.warning("the history waits: %s", why)
                await waits.replay(why)
                told = missing
            await asyncio.sleep(_LOOK_SECONDS)

    async def _mark_paused(self, plan: FirehosePlan) -> None:
        replay, crawl = await self._store.replay(), await self._store.crawl()
        if replay is not None and replay.plan_id == plan.plan_id and replay.state is not PieceState.DONE:
            await self._store.put_replay(replay.model_copy(update={"state": PieceState.PAUSED}))
        if crawl is not None and crawl.plan_id == plan.plan_id and crawl.state is not PieceState.DONE:
            await self._store.put_crawl(crawl.model_copy(update={"state": PieceState.PAUSED}))

    async def _replay_window(self, plan: FirehosePlan) -> None:
        replay = await self._store.replay()
        if replay is None or replay.plan_id != plan.plan_id:
            replay = ReplayProgress(plan_id=plan.plan_id, state=PieceState.WAITING, updated_at_us=now_us())
            await self._store.put_replay(replay)
        if replay.state is PieceState.DONE:
            return
        await self._replay.run(plan)
        while (await self._js.stream_info(STREAM_REPLAY)).state.messages:
            await asyncio.sleep(_LOOK_SECONDS)
        replay = await self._store.replay()
        assert replay is not None
        done = {"state": PieceState.DONE, "seconds_left": 0.0, "updated_at_us": now_us()}
        await self._store.put_replay(replay.model_copy(update=done))
        metrics.tell_progress("replay", 1.0, 0.0)
        log.info("the replay is done: %d events", replay.events)

    async def _crawl(self, plan: FirehosePlan) -> None:
        progress = await self._store.crawl()
        if progress is None or progress.plan_id != plan.plan_id:
            progress = CrawlProgress(
                crawl_id=plan.plan_id,
                plan_id=plan.plan_id,
                state=PieceState.WAITING,
                cutoff_us=plan.cutoff_us,
                started_at_us=now_us(),
            )
            await self._store.put_crawl(progress)
        if progress.state is PieceState.DONE:
            return
        if await self._window_reaches_cutoff(plan):
            why = "not needed: the relay's window reaches back to the cutoff"
            await self._store.put_crawl(
                progress.model_copy(update={"state": PieceState.DONE, "detail": why, "updated_at_us": now_us()})
            )
            return
        scope = Scope(RequestLane.CRAWL, plan.cutoff_us, plan.requested_at_us)
        crawl = Crawl(self._crawls, scope, progress, with_hosts=True)
        await crawl.run()
        await self._store.put_crawl(await self._outcomes.concluded(crawl.progress, RequestLane.CRAWL))
        metrics.tell_progress("crawl", 1.0, 0.0)
        log.info("the crawl is done: %d repos of %d", crawl.progress.filed, crawl.progress.listed)

    async def _window_reaches_cutoff(self, plan: FirehosePlan) -> bool:
        """Whether the replay brings all that is wanted. Known when the replay has begun, and certain at its end."""
        while plan.cutoff_us is not None:
            replay = await self._store.replay()
            if replay is not None and replay.plan_id == plan.plan_id:
                if replay.reaches_cutoff is False:
                    return False
                if replay.state is PieceState.DONE:
                    return bool(replay.reaches_cutoff)
            await asyncio.sleep(_LOOK_SECONDS)
        return False

    async def _tell_end(self, plan: FirehosePlan) -> None:
        metrics.HISTORY_DONE.set(0)
        while history_state(plan, await self._store.replay(), await self._store.crawl()) is not PieceState.DONE:
            await asyncio.sleep(_LOOK_SECONDS)
        metrics.HISTORY_DONE.set(1)
        log.info("the history of %d days is in Postgres", plan.days)


def _without_live_tail(tails: Sequence[LiveProgress]) -> set[int]:
    """The workers that follow no relay yet."""
    primary = next((tail for tail in tails if tail.worker_id == 0), None)
    if primary is None:
        return {0}
    present = {tail.worker_id for tail in tails if tail.connected or tail.started_seq is not None}
    return set(range(primary.worker_count)) - present


async def _persist(
    name: str, work: Callable[[], Awaitable[None]], tell_why: Callable[[str], Awaitable[None]] | None = None
) -> None:
    """Do ``work`` to its end, and again whenever the network or the bus was away; ``tell_why`` it waits."""
    tries = 0
    while True:
        tries += 1
        try:
            await work()
        except (TransientError, InvalidInputError, *BUS_AWAY) as error:
            log.warning("%s waits: %s", name, error)
            if tell_why is not None:
                with suppress(*BUS_AWAY):
                    await tell_why(f"waits: {error}")
            await asyncio.sleep(backoff_seconds(tries, cap=_RETRY_CAP))
        else:
            return


async def _end(work: asyncio.Task[None] | None) -> None:
    if work is not None:
        await cancel_and_wait([work])
        if not work.cancelled():
            work.result()
