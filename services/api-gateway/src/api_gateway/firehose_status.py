"""The firehose at a glance, and changes of its plan, for operators."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from pydantic import BaseModel

from api_gateway.bus import Bus
from api_gateway.problems import Problem
from headwater.bus.firehose import (
    CrawlProgress,
    FirehosePlan,
    Gap,
    GapState,
    LiveProgress,
    PieceState,
    ReplayProgress,
    history_state,
    new_plan,
)
from headwater.clock import now_us

_CLOSED_SHOWN = 20


class FirehoseStatus(BaseModel):
    """Everybody's records: what was asked for, the live tails, the history's pieces, and the gaps.

    ``history`` is the historical part as a whole: done when every record in the plan's days is in Postgres, null where
    none is wanted. ``replay`` and ``crawl`` are of this plan, null until they begin; ``gap_crawl`` is the crawl that
    closes gaps, or the last one that did. Of closed gaps the newest 20 are there. Times are microseconds since 1970.
    """

    plan: FirehosePlan | None
    history: PieceState | None
    live: list[LiveProgress]
    replay: ReplayProgress | None
    crawl: CrawlProgress | None
    gap_crawl: CrawlProgress | None
    gaps: list[Gap]


async def firehose_status(bus: Bus) -> FirehoseStatus:
    """Look everywhere once. Raises nats errors."""
    store = bus.firehose
    plan, _ = await store.plan()
    replay, crawl = await store.replay(), await store.crawl()
    plan_id = plan.plan_id if plan is not None else None
    gaps = await store.gaps()
    closed = [gap for gap in gaps if gap.state is GapState.CLOSED]
    return FirehoseStatus(
        plan=plan,
        history=history_state(plan, replay, crawl),
        live=await store.live(),
        replay=replay if replay is not None and replay.plan_id == plan_id else None,
        crawl=crawl if crawl is not None and crawl.plan_id == plan_id else None,
        gap_crawl=await store.crawl(of_gaps=True),
        gaps=[gap for gap in gaps if gap.state is not GapState.CLOSED] + closed[-_CLOSED_SHOWN:],
    )


async def ask_anew(bus: Bus, days: int) -> FirehoseStatus:
    """Begin the historical part again with other days, whatever has been done of it. Raises nats errors."""
    await _change(bus, lambda _: new_plan(days, now_us(), "operator"))
    return await firehose_status(bus)


async def set_paused(bus: Bus, *, paused: bool) -> FirehoseStatus:
    """Let the historical part rest, or go on. Raises Problem 409 when there is no plan yet, and nats errors."""

    def change(plan: FirehosePlan | None) -> FirehosePlan:
        if plan is None:
            raise Problem(HTTPStatus.CONFLICT, "no_plan", "firehose-backfill has not started yet, so nothing runs")
        return plan.model_copy(update={"paused": paused})

    await _change(bus, change)
    return await firehose_status(bus)


async def _change(bus: Bus, change: Callable[[FirehosePlan | None], FirehosePlan]) -> None:
    """Others may change the plan at the same time; nobody's change is lost."""
    while True:
        plan, revision = await bus.firehose.plan()
        changed = change(plan)
        if changed == plan or await bus.firehose.change_plan(changed, revision):
            return
