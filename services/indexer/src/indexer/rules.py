"""Who may write, and what the end of a snapshot means: the rules by which writes converge, on locked rows.

One snapshot a repo is being written at a time. A newer one (by rev) takes the older one's place, and an older one
must not write any more: what has vanished in between would rise again. A snapshot of the whole repo leaves records
that have not changed alone; they are safe because live commits at or below its rev are deferred meanwhile, and
dropped for good (the floor) when it is complete. A snapshot with a cutoff raises no floor but for what is in its
scope; so it writes its rev into every row that it confirms.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from functools import lru_cache

from headwater.bus.messages import Outcome, Rows, SnapshotBatch, SnapshotEnd
from headwater.clock import now_us
from headwater.collection_filter import CollectionFilter
from headwater.errors import InvariantError, Reason
from indexer.account_rules import note_answer, note_identity, printable
from indexer.state import Job, Repo
from indexer.sync_rules import catch_up

_STATUS_OF = {
    Reason.DEACTIVATED: "deactivated",
    Reason.SUSPENDED: "suspended",
    Reason.TAKEN_DOWN: "taken_down",
}


class Fate(Enum):
    """What becomes of a SnapshotEnd."""

    STALE = auto()
    """Of an attempt that was given up: nothing to do."""
    DECIDED = auto()
    """The job's state says it all, and is to be told (again)."""
    WAIT = auto()
    """Batches are missing; they come again."""
    SWEEP = auto()
    """Everything is committed: sweep, then ``complete``."""


def admit(repo: Repo, job: Job, jobs: Mapping[str, Job], message: SnapshotBatch | SnapshotEnd) -> bool:
    """Whether ``message`` may write, taking the repo for its snapshot when it does not hold it yet.

    ``jobs`` are all the jobs that the transaction knows, with the one that holds the repo. Decides the job where the
    answer is no for good.
    """
    if job.did != message.did:
        raise InvariantError(f"job {job.job_id} is of {job.did}, not of {message.did}")
    if job.final or message.attempt < job.attempt:
        return False
    _note_attempt(repo, job, message.attempt)
    if job.state == "superseded" or _is_refused(repo, job, message):
        return False
    if repo.is_held_by(job.job_id, job.attempt):
        return True
    if message.rev < max(repo.snapshot_rev or "", repo.swept_rev or ""):
        job.state = "superseded"
        return False
    _take_over(repo, job, jobs, message)
    return True


def _note_attempt(repo: Repo, job: Job, attempt: int) -> None:
    """A new attempt ends what the one before was writing, whatever their revs: nothing more will come of it."""
    if attempt > job.attempt:
        job.begin_attempt(attempt)
        _release(repo, job)


def _is_refused(repo: Repo, job: Job, message: SnapshotBatch | SnapshotEnd) -> bool:
    if message.epoch != repo.epoch:
        job.fail(Reason.ACCOUNT_DELETED, "the account's rows were deleted after the job had begun")
    elif repo.opted_out:
        job.fail(Reason.OPTED_OUT)
    if job.final:
        _release(repo, job)
    return job.final


def _take_over(repo: Repo, job: Job, jobs: Mapping[str, Job], message: SnapshotBatch | SnapshotEnd) -> None:
    holder = jobs.get(repo.snapshot_job or "")
    if holder is not None and holder is not job and not holder.final:
        holder.state = "superseded"
    repo.snapshot_job, repo.snapshot_attempt = job.job_id, job.attempt
    repo.snapshot_rev, repo.snapshot_whole = message.rev, message.whole
    repo.snapshot_fresh = not repo.written


def _release(repo: Repo, job: Job) -> None:
    if repo.snapshot_job == job.job_id:
        repo.end_snapshot()


def conclude(repo: Repo, job: Job, jobs: Mapping[str, Job], end: SnapshotEnd, *, cancelled: bool) -> Fate:
    """What ``end`` means, after the batches that came with it have been written.

    ``cancelled``: somebody asked for the job to stop, and it has not completed before that was known.
    """
    if job.final:
        return Fate.DECIDED
    if end.attempt < job.attempt:
        return Fate.STALE
    _note_attempt(repo, job, end.attempt)
    job.lane, job.rev, job.rejected = end.lane, end.rev or None, end.rejected
    if end.outcome is Outcome.FAILED:
        job.fail(_known_reason(end.reason), printable(end.detail))
        if job.reason in _STATUS_OF:
            note_answer(repo, _STATUS_OF[job.reason], end.at_us)
    elif end.outcome is Outcome.CANCELLED or (cancelled and end.outcome is Outcome.COMPLETE):
        job.state = "cancelled"
    elif not _is_refused(repo, job, end):
        return _conclude_success(repo, job, jobs, end)
    _release(repo, job)
    return Fate.DECIDED


def _conclude_success(repo: Repo, job: Job, jobs: Mapping[str, Job], end: SnapshotEnd) -> Fate:
    if end.outcome is Outcome.UNCHANGED:
        _release(repo, job)
        job.state, job.unchanged = "done", True
        _is_known(repo, end, repo.kept_from)
        return Fate.DECIDED
    if not admit(repo, job, jobs, end):
        return Fate.DECIDED
    if job.batches < end.batches:
        return Fate.WAIT
    if (job.batches, job.records) != (end.batches, end.records):
        job.fail(
            Reason.MESSAGE_MALFORMED,
            f"{job.batches} batches with {job.records} records came, {end.batches} with {end.records} were announced",
        )
        _release(repo, job)
        return Fate.DECIDED
    return Fate.SWEEP


def give_up(repo: Repo, job: Job, end: SnapshotEnd) -> None:
    """The missing batches have not come in any reasonable time."""
    job.fail(Reason.MESSAGE_MALFORMED, f"{job.batches} of {end.batches} batches came")
    _release(repo, job)


def complete(repo: Repo, job: Job, end: SnapshotEnd, deleted: int) -> None:
    """The snapshot is in the table and the sweep has run."""
    job.state, job.deleted = "done", deleted
    kept_from = repo.kept_from
    repo.swept_rev = max(end.rev, repo.swept_rev or "")
    if end.whole:
        repo.floor_rev, repo.floor_collections = max(end.rev, repo.floor_rev or ""), end.collections
        repo.incomplete = False
    else:
        repo.scoped_rev, repo.scoped_cutoff, repo.scoped_collections = end.rev, end.cutoff_us, end.collections
    repo.written = True
    repo.end_snapshot()
    _is_known(repo, end, kept_from)


def _is_known(repo: Repo, end: SnapshotEnd, kept_from: int | None) -> None:
    note_answer(repo, "active", end.at_us)
    note_identity(repo, end.handle, end.pds, end.at_us)
    catch_up(repo, end, kept_from, now_us())


def _known_reason(value: str | None) -> Reason | None:
    # Another version of repo-backfill may know reasons that this one does not.
    return next((reason for reason in Reason if reason.value == value), None)


def is_void(repo: Repo, rev: str) -> bool:
    """Whether a live commit does not count: it is in the table by a snapshot of the whole repo, or of an account
    that was deleted or not active after it, or of one that does not want to be indexed."""
    return repo.opted_out or rev <= max(repo.floor_rev or "", repo.void_rev or "")


def is_late(repo: Repo, rev: str) -> bool:
    """Whether a live commit is from before a snapshot with a cutoff that is in the table, or this snapshot's own."""
    return repo.scoped_rev is not None and rev <= repo.scoped_rev


def beside_scope(repo: Repo, rows: Rows) -> list[int]:
    """Which records of a late commit count, as indices: those that the snapshot would not have brought.

    What was in its scope is in the table if the repo still held it then, and must not rise if it did not.
    """
    cutoff_us, wanted = repo.scoped_cutoff, _filter_of(repo.scoped_collections)
    return [
        i
        for i, at in enumerate(rows.created_at)
        if cutoff_us is None or at < cutoff_us or rows.collection[i] not in wanted
    ]


_filter_of = lru_cache(64)(CollectionFilter.parse)


def is_deferred(repo: Repo, rev: str) -> bool:
    """Whether a live commit must wait for the end of the whole snapshot that is being written."""
    return repo.pending_rev is not None and rev <= repo.pending_rev
