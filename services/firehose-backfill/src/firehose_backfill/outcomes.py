"""How a crawl's requests ended: which brought no records, and whether that is a failure."""

from __future__ import annotations

from collections import Counter
from typing import Final

from headwater.bus.firehose import CrawlProgress, PieceState
from headwater.bus.job_store import JobStore
from headwater.bus.jobs import JobState
from headwater.bus.subjects import RequestLane
from headwater.clock import now_us
from headwater.errors import Reason

GONE: Final = frozenset(
    {
        Reason.NOT_FOUND,
        Reason.DEACTIVATED,
        Reason.SUSPENDED,
        Reason.TAKEN_DOWN,
        Reason.ACCOUNT_DELETED,
        Reason.OPTED_OUT,
    }
)
"""Answers about an account: there is nothing to bring of it."""


class Outcomes:
    """Reads the jobs that did not end as done; those that did leave nothing behind (see repo-backfill)."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    async def concluded(self, crawl: CrawlProgress, lane: RequestLane) -> CrawlProgress:
        """The progress of a crawl whose requests have all ended, as done. Raises nats errors."""
        reasons = Counter(
            job.reason
            for job in await self._jobs.all_jobs()
            if job.lane is lane and job.state is JobState.FAILED and job.requested_at_us >= crawl.started_at_us
        )
        gone = sum(count for reason, count in reasons.items() if reason in GONE)
        failed = reasons.total() - gone
        said = [f"{count} {reason}" for reason, count in reasons.most_common() if reason and reason not in GONE]
        hosts = [f"{crawl.hosts_failed} hosts could not be listed"] if crawl.hosts_failed else []
        changes = {
            "state": PieceState.DONE,
            "waiting": 0,
            "failed": failed,
            "gone": gone,
            "seconds_left": 0.0,
            "detail": "; ".join([f"failed: {', '.join(said)}"] * bool(said) + hosts) or None,
            "updated_at_us": now_us(),
        }
        return crawl.model_copy(update=changes)
