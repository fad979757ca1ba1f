"""The firehose backfill as it stands on the bus: what was asked for, how far each piece is, and the gaps.

The plan lies in the ``control`` bucket, written by the gateway and, at the primary worker's first start, by it. All
else lies in the ``firehose`` bucket, each key with one writer: ``live.<worker id>`` that worker, ``replay``,
``crawl.plan`` and ``crawl.gaps`` the primary worker, ``gap.<id>`` the worker that found it until it is there, the
primary worker from then on.
Times are microseconds since 1970, rates are per second.
"""

from __future__ import annotations

import secrets
from enum import StrEnum
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from headwater.clock import DAY_US

PLAN_KEY: Final = "firehose-backfill.plan"
REPLAY_KEY: Final = "replay"
CRAWL_KEY: Final = "crawl.plan"
GAP_CRAWL_KEY: Final = "crawl.gaps"
ENVIRONMENT_KEY: Final = "firehose-backfill.environment"
"""In the ``control`` bucket: the BACKFILL_DAYS that the primary worker saw last."""


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
    """The replay of what the relay's window holds, from ``from_seq`` (nearest to the cutoff) up to ``to_seq``.

    ``reaches_cutoff``: the window began before the cutoff and nothing of it was lost on the way, so that no crawl is
    needed; None until that is known.
    """

    plan_id: str
    state: PieceState
    relay: str | None = None
    from_seq: int | None = None
    to_seq: int | None = None
    seq: int | None = None
    from_us: int | None = None
    to_us: int | None = None
    at_us: int | None = None
    reaches_cutoff: bool | None = None
    events: int = 0
    events_per_second: float = 0.0
    seconds_left: float | None = None
    detail: str | None = None
    updated_at_us: int = 0


class CrawlStage(StrEnum):
    """What a crawl is at."""

    RELAY = "relay"
    """Going through the relay's listRepos."""
    HOSTS = "hosts"
    """Going through the hosts' own, for what the relay's misses."""
    ENDING = "ending"
    """All is filed; the last requests have not ended."""


class CrawlProgress(_Part):
    """The crawl of what lies before the relay's window (of a plan), or of what gaps may have hidden (``gap_ids``).

    ``cursor`` is that of the relay's listRepos, or of its listHosts, by ``stage``; ``host`` is the relay. ``listed``
    repos were seen in listRepos, ``total`` there are by the relay's own count; ``skipped`` are older than the cutoff,
    not active, excluded or seen before; ``filed`` were requested of repo-backfill, of which ``waiting`` are not ended
    yet, ``failed`` have ended without their records, and ``gone`` because the account is not active (any more).
    ``request_seq`` is the last request's place in the REQUESTS stream.
    """

    crawl_id: str
    plan_id: str | None = None
    gap_ids: list[str] = []
    state: PieceState
    stage: CrawlStage = CrawlStage.RELAY
    cutoff_us: int | None = None
    started_at_us: int = 0
    host: str | None = None
    cursor: str | None = None
    hosts_done: int = 0
    hosts_total: int | None = None
    hosts_failed: int = 0
    listed: int = 0
    total: int | None = None
    skipped: int = 0
    malformed: int = 0
    filed: int = 0
    waiting: int = 0
    failed: int = 0
    gone: int = 0
    request_seq: int = 0
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
    """The first event after a connect lies further ahead than the last one explains."""
    MESSAGE_TOO_LARGE = "message_too_large"
    """A message that was too large to be read was passed over."""


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


def new_plan(days: int, now_us: int, requested_by: Literal["environment", "operator"]) -> FirehosePlan:
    """A plan as of ``now_us``, which fixes the cutoff. ``days``: -1 is everything, 0 none."""
    return FirehosePlan(
        plan_id=f"{now_us:014x}{secrets.token_hex(4)}",
        days=days,
        cutoff_us=now_us - days * DAY_US if days > 0 else None,
        requested_at_us=now_us,
        requested_by=requested_by,
    )


def live_key(worker_id: int) -> str:
    """The key of a worker's live tail in the ``firehose`` bucket."""
    return f"live.{worker_id}"


def gap_key(gap_id: str) -> str:
    """The key of a gap in the ``firehose`` bucket."""
    return f"gap.{gap_id}"


def history_state(
    plan: FirehosePlan | None, replay: ReplayProgress | None, crawl: CrawlProgress | None
) -> PieceState | None:
    """Where the historical part of a plan is; None where no history is wanted. Done only when both pieces are."""
    if plan is None or plan.days == 0:
        return None
    pieces = [piece.state for piece in (replay, crawl) if piece is not None and piece.plan_id == plan.plan_id]
    if len(pieces) == 2 and all(state is PieceState.DONE for state in pieces):
        return PieceState.DONE
    if plan.paused:
        return PieceState.PAUSED
    if PieceState.FAILED in pieces:
        return PieceState.FAILED
    return PieceState.RUNNING if PieceState.RUNNING in pieces else PieceState.WAITING
