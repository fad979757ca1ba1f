"""What a transaction knows of its repos and jobs: rows read under lock, changed by the rules, written back."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from headwater.bus.jobs import IndexPart, IndexState
from headwater.clock import now_us
from headwater.errors import Reason

SyncState = Literal["synchronized", "desynchronized"]
JobState = Literal["indexing", "superseded", "done", "failed", "cancelled"]


class Track(StrEnum):
    """Which repos' live events are followed, of those that were not followed before (setting ``TRACK``)."""

    ALL = "all"
    """Every repo, from its first event on."""
    BACKFILLED = "backfilled"
    """Those of which a snapshot was asked for."""
    NONE = "none"
    """No further ones."""


_OLDER_US = 600_000_000
"""A record is a little older than the event that tells of it."""


def kept_from(floor_rev: str | None, scoped_cutoff: int | None, tracked_from: int | None) -> int | None:
    """The effective time from which on the table is to hold a repo's records; None is all time."""
    if floor_rev is not None:
        return None
    times = [] if tracked_from is None else [tracked_from - _OLDER_US]
    return min(times if scoped_cutoff is None else [*times, scoped_cutoff], default=None)


class Repo(msgspec.Struct, kw_only=True):
    """A row of ``repo``. Times in microseconds since 1970.

    ``snapshot_*`` is the snapshot that is being written: there is at most one a repo. While one of the whole repo is,
    live commits at or below its rev are deferred.
    """

    did: str
    epoch: int = 0
    written: bool = False
    floor_rev: str | None = None
    swept_rev: str | None = None
    rev: str | None = None
    data: str | None = None
    handle: str | None = None
    pds: str | None = None
    status: str = "active"
    scoped_rev: str | None = None
    scoped_cutoff: int | None = None
    snapshot_job: str | None = None
    snapshot_attempt: int | None = None
    snapshot_rev: str | None = None
    snapshot_whole: bool = False
    snapshot_fresh: bool = False
    last_backfill_at: int | None = None
    last_backfill_days: int | None = None
    status_at: int | None = None
    identity_at: int | None = None
    tracked_from: int | None = None
    void_rev: str | None = None
    purging: bool = False
    rev_by_replay: bool = False
    sync_state: SyncState = "synchronized"
    desync_reason: str | None = None
    desync_rev: str | None = None
    desync_at: int | None = None
    gap_rev: str | None = None
    gap_data: str | None = None
    gap_since: str | None = None
    gap_prev_data: str | None = None
    earlier_since: str | None = None
    earlier_prev_data: str | None = None
    resync_tries: int = 0
    resync_filed_at: int | None = None
    resync_at: int | None = None
    floor_collections: str = ""
    scoped_collections: str = ""
    opted_out: bool = False
    excluded: list[str] = []
    purging_collections: list[str] = []
    incomplete: bool = False

    @property
    def kept_from(self) -> int | None:
        """The effective time from which on the table is to hold the repo's records; None is all time."""
        return kept_from(self.floor_rev, self.scoped_cutoff, self.tracked_from)

    @property
    def pending_rev(self) -> str | None:
        """The rev of the whole snapshot that is being written, if one is."""
        return self.snapshot_rev if self.snapshot_whole else None

    def is_held_by(self, job_id: str, attempt: int) -> bool:
        """Whether the snapshot that is being written is this attempt's."""
        return (self.snapshot_job, self.snapshot_attempt) == (job_id, attempt)

    def written_by_other(self) -> None:
        """Somebody besides the snapshot has written: its batches may collide from now on."""
        self.written = True
        self.snapshot_fresh = False

    def end_snapshot(self) -> None:
        """No snapshot is being written any more."""
        self.snapshot_job = self.snapshot_attempt = self.snapshot_rev = None
        self.snapshot_whole = self.snapshot_fresh = False


class Job(msgspec.Struct, kw_only=True):
    """A row of ``backfill_job``: what the indexer has committed of the attempt.

    ``rev`` and ``rejected`` are what the end of the attempt said.
    """

    job_id: str
    did: str
    attempt: int = 0
    state: JobState = "indexing"
    batches: int = 0
    records: int = 0
    deleted: int = 0
    unchanged: bool = False
    lane: str | None = None
    reason: Reason | None = None
    detail: str | None = None
    rev: str | None = None
    rejected: dict[str, int] = {}

    @property
    def final(self) -> bool:
        """Whether nothing will change any more. A superseded attempt may be followed by another."""
        return self.state in ("done", "failed", "cancelled")

    def begin_attempt(self, attempt: int) -> None:
        """Start counting anew."""
        self.attempt = attempt
        self.state = "indexing"
        self.batches = self.records = self.deleted = 0
        self.reason = self.detail = self.rev = None
        self.rejected = {}

    def fail(self, reason: Reason | None, detail: str | None = None) -> None:
        """It has failed, and will not change any more."""
        self.state, self.reason, self.detail = "failed", reason, detail

    def part(self) -> IndexPart:
        """What is told on the bus."""
        return IndexPart(
            state=IndexState(self.state),
            attempt=self.attempt,
            records_written=self.records,
            records_deleted=self.deleted,
            unchanged=self.unchanged,
            reason=self.reason,
            detail=self.detail,
            rev=self.rev,
            rejected=self.rejected,
            updated_at_us=now_us(),
        )
