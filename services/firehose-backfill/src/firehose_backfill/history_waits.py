"""What the historical part waits for, told where people look: in the progress of its pieces."""

from __future__ import annotations

from headwater.bus.firehose import CrawlProgress, FirehosePlan, PieceState, ReplayProgress
from headwater.bus.firehose_store import FirehoseStore
from headwater.clock import now_us


class HistoryWaits:
    """Tells of one plan's pieces why they do not go on; what is done, or another plan's, is left alone.

    Each piece says nothing of it any more when it goes on. All methods raise nats errors.
    """

    def __init__(self, store: FirehoseStore, plan: FirehosePlan) -> None:
        self._store = store
        self._plan = plan

    async def replay(self, why: str) -> None:
        """Why the replay waits, also one that has not begun."""
        plan = self._plan
        if not plan.days:
            return
        progress = await self._store.replay()
        if progress is None or progress.plan_id != plan.plan_id:
            progress = ReplayProgress(plan_id=plan.plan_id, state=PieceState.WAITING)
        if progress.state is not PieceState.DONE:
            await self._store.put_replay(progress.model_copy(update={"detail": why, "updated_at_us": now_us()}))

    async def crawl(self, why: str) -> None:
        """Why the plan's crawl waits."""
        progress = await self._store.crawl()
        if progress is not None and progress.plan_id == self._plan.plan_id:
            await self._tell(progress, why)

    async def gap_crawl(self, why: str) -> None:
        """Why the crawl that closes gaps waits."""
        progress = await self._store.crawl(of_gaps=True)
        if progress is not None:
            await self._tell(progress, why)

    async def _tell(self, progress: CrawlProgress, why: str) -> None:
        if progress.state is not PieceState.DONE:
            await self._store.put_crawl(progress.model_copy(update={"detail": why, "updated_at_us": now_us()}))
