"""Closing gaps: the repos that have changed since a gap began are fetched again, and who is not active any more, or
again, is told.

All gaps that are open are closed by one crawl, from the earliest one's beginning; those that are found meanwhile wait
for the next. A gap is of the relay's events, so only the relay's own list is gone through.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from firehose_backfill import crawl_metrics as metrics
from firehose_backfill.crawl import RELAY_TRIES, Crawl, CrawlTools
from firehose_backfill.filing import Scope
from firehose_backfill.listing import ListedRepo
from firehose_backfill.seen_dids import SeenDids
from firehose_backfill.statuses import Statuses
from headwater.bus.firehose import CrawlProgress, CrawlStage, Gap, GapState, PieceState
from headwater.bus.firehose_store import FirehoseStore
from headwater.bus.subjects import RequestLane
from headwater.clock import now_us

log = logging.getLogger("firehose_backfill.gaps")

MARGIN_US: Final = 600_000_000
"""How much earlier than its last event before the gap a relay's clock may have been, beside hosts' clocks."""
_LOOK_SECONDS: Final = 1.0


class GapClosing:
    """Closes gaps as they are found."""

    def __init__(self, crawls: CrawlTools, store: FirehoseStore, statuses: Statuses) -> None:
        self._crawls = crawls
        self._statuses = statuses
        self._store = store

    async def run(self) -> None:
        """Close what is open and what opens, until cancelled. Raises TransientError and nats errors."""
        while True:
            gaps = await self._store.gaps()
            unclosed = [gap for gap in gaps if gap.state is not GapState.CLOSED]
            metrics.GAPS_OPEN.set(len(unclosed))
            if unclosed:
                await self._close(unclosed)
            else:
                await asyncio.sleep(_LOOK_SECONDS)

    async def _close(self, unclosed: list[Gap]) -> None:
        before = await self._store.crawl(of_gaps=True)
        taken_up = [gap for gap in unclosed if gap.state is GapState.CLOSING]
        if taken_up and before is not None and before.gap_ids == [gap.gap_id for gap in taken_up]:
            gaps, progress = taken_up, before
        else:
            gaps, progress = unclosed, _begun(unclosed)
            await self._store.put_crawl(progress)
            for gap in gaps:
                await self._store.put_gap(gap.model_copy(update={"state": GapState.CLOSING}))
        # A request from before a gap was found may have been answered before the gap's end.
        scope = Scope(RequestLane.RESYNC, progress.cutoff_us, max(gap.found_at_us for gap in gaps))
        listed = SeenDids() if progress.cursor is None and progress.stage is CrawlStage.RELAY else None

        async def look(repos: Sequence[ListedRepo], asked_us: int) -> None:
            if listed is not None:
                listed.update(repo.did for repo in repos)
            await self._statuses.compare(repos, asked_us)

        crawl = Crawl(self._crawls, scope, progress, with_hosts=False, look=look)
        await crawl.run()
        relay = crawl.progress.host or self._crawls.relays[0]
        await self._statuses.look_for_missing(relay, listed or await self._list(relay))
        for gap in gaps:
            await self._store.put_gap(gap.model_copy(update={"state": GapState.CLOSED, "closed_at_us": now_us()}))
        done = {"state": PieceState.DONE, "seconds_left": 0.0, "updated_at_us": now_us()}
        await self._store.put_crawl(crawl.progress.model_copy(update=done))
        metrics.tell_progress("gaps", 1.0, 0.0)
        log.info("%d gaps are closed: %d repos were fetched again", len(gaps), crawl.progress.filed)

    async def _list(self, relay: str) -> SeenDids:
        """All that are in the relay's list, where the crawl's own memory of it went with a former process."""
        listed = SeenDids()
        async for page in self._crawls.lists.repos(relay, None, RELAY_TRIES):
            listed.update(repo.did for repo in page.repos)
        return listed


def _begun(gaps: list[Gap]) -> CrawlProgress:
    now = now_us()
    return CrawlProgress(
        crawl_id=f"{now:014x}",
        gap_ids=[gap.gap_id for gap in gaps],
        state=PieceState.WAITING,
        cutoff_us=min(gap.from_us for gap in gaps) - MARGIN_US,
        started_at_us=now,
    )
