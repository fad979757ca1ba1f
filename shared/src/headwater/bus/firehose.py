"""The firehose backfill as it stands on the bus: what was asked for, how far each piece is, and the gaps.

The plan lies in the ``control`` bucket, written by the gateway and, at the primary worker's first start, by it. All
else lies in the ``firehose`` bucket, each key with one writer: ``live.<worker id>`` that worker, ``replay`` and
``crawl`` the primary worker, ``gap.<id>`` the worker that found it until it is there, the primary worker from then on.
Times are microseconds since 1970, rates are per second.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

PLAN_KEY: Final = "firehose-backfill.plan"
REPLAY_KEY: Final = "replay"
CRAWL_KEY: Final = "crawl"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class FirehosePlan(_Part):
    """How much of everybody's history is wanted. ``days``: -1 is everything, 0 none; ``cutoff_us`` was fixed when it
    was asked for, None for everything. A new ``plan_id`` starts the backfill again."""

    plan_id: str
    days: int
    cutoff_us: int | None
    requested_at_us: int
    requested_by: Literal["environment", "operator"]
    paused: bool = False


class PieceState(StrEnum):
    """Where a piece of the backfill is."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"


class LiveProgress(_Part):
    """One worker's live tail. ``seq`` and ``at_us`` are of the newest event that is safe on the bus.

    ``started_seq`` is the first seq that this tail saw: the replay goes up to there.
    """

    worker_id: int
    worker_count: int
    relay: str
    connected: bool
    started_seq: int | None = None
    seq: int | None = None
    at_us: int | None = None
    lag_seconds: float | None = None
    events_per_second: float = 0.0
    updated_at_us: int = 0


class ReplayProgress(_Part):
    """The replay of what the relay's window holds, from ``from_seq`` (nearest to the cutoff) up to ``to_seq``."""

    plan_id: str
    state: PieceState
    relay: str | None = None
    from_seq: int | None = None
    to_seq: int | None = None
    seq: int | None = None
    from_us: int | None = None
    to_us: int | None = None
    at_us: int | None = None
    events: int = 0
    events_per_second: float = 0.0
    seconds_left: float | None = None
    detail: str | None = None
    updated_at_us: int = 0


class CrawlProgress(_Part):
    """The crawl of what lies before the relay's window, or of what a gap may have hidden (``gap_id``).

    ``listed`` repos were seen in listRepos, ``skipped`` are older than the cutoff or not active, ``filed`` were
    requested of repo-backfill, of which ``waiting`` are not ended yet and ``failed`` have ended without their records.
    """

    crawl_id: str
    plan_id: str | None = None
    gap_id: str | None = None
    state: PieceState
    cutoff_us: int | None = None
    host: str | None = None
    hosts_done: int = 0
    hosts_total: int | None = None
    cursor: str | None = None
    listed: int = 0
    skipped: int = 0
    filed: int = 0
    waiting: int = 0
    failed: int = 0
    repos_per_second: float = 0.0
    seconds_left: float | None = None
    detail: str | None = None
    updated_at_us: int = 0


class GapKind(StrEnum):
    """What was missed, by how it was noticed."""

    OUTDATED_CURSOR = "outdated_cursor"
    """The relay does not hold what follows the cursor any more."""
    OTHER_SEQ_SPACE = "other_seq_space"
    """The seqs are of another relay, or of one that began anew."""
    SEQ_JUMP = "seq_jump"
    """The first event after a connect lies further ahead than time explains."""


class GapState(StrEnum):
    """Where a gap is."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Gap(_Part):
    """A stretch of the firehose that nobody saw. The crawl of the repos that changed since ``from_us`` closes it."""

    gap_id: str
    kind: GapKind
    state: GapState
    relay: str
    worker_id: int
    from_seq: int | None = None
    to_seq: int | None = None
    from_us: int
    to_us: int | None = None
    found_at_us: int
    closed_at_us: int | None = None


def live_key(worker_id: int) -> str:
    """The key of a worker's live tail in the ``firehose`` bucket."""
    return f"live.{worker_id}"


def gap_key(gap_id: str) -> str:
    """The key of a gap in the ``firehose`` bucket."""
    return f"gap.{gap_id}"
