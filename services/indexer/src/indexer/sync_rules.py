"""Whether the table is in step with a repo: its chain of commits, what breaks it, what mends it. On locked rows. Pure.

Sources: https://atproto.com/specs/sync#commit-validation and ``headwater.chain``, whose verdicts are followed here.

A repo that is out of step stays so until a snapshot at ``desync_rev`` or above is in the table. One gap between two
commits is remembered with both its ends: after a crash, and while a replay runs, commits come late, and when they
fill the gap nothing has to be fetched. So it is with what comes before the first commit that was seen.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from headwater.bus.messages import LiveBroken, LiveCommit, LiveSync, SnapshotEnd
from headwater.chain import StoredRepo, Verdict, judge, judge_sync
from headwater.tid import tid_time
from indexer.state import Repo

RESYNC_SECONDS: Final = (60, 240, 960, 3_840, 15_360, 61_440, 86_400)
"""From each request for a resync to the next, while the repo stays out of step; the last one for all further ones."""

_FIRST_SECONDS: Final = 2
# Longer than JetStream waits with what a dead worker held: what seems to be missing may only be late.
_FIRST_SECONDS_OF_GAP: Final = 15
_CALM_US: Final = 86_400_000_000
_CLAIMS_TRIED: Final = 3
_FUTURE_US: Final = 300_000_000


class Desync(StrEnum):
    """Why a repo is out of step, besides ``headwater.errors.Reason`` of a frame that was refused."""

    GAP = "gap"
    """A commit does not continue what is stored."""
    AWAITS_REPLAY = "awaits_replay"
    """The same, but the replay may still bring what is missing: it has not come to the commit before."""
    SYNC = "sync"
    """A ``#sync`` disagrees."""
    DROPPED = "dropped"
    """A commit was dropped, since the account was not active then."""
    RETURNED = "returned"
    """The account is active again."""
    INVITED = "invited"
    """The account lets itself, or a collection, be indexed again."""
    LATE = "late"
    """The table has a record from outside the scope of the last snapshot, by a commit that is older than that."""


_MENDABLE: Final = (Desync.GAP, Desync.AWAITS_REPLAY)


def follow_commit(repo: Repo, commit: LiveCommit, *, replayed: bool, now_us: int) -> bool:
    """Move the chain by a commit; whether its records are to be written."""
    if repo.status != "active" or commit.rev <= (repo.void_rev or ""):
        _drop(repo, commit.rev, commit.at_us, now_us)
        return False
    verdict = judge(StoredRepo(repo.rev, repo.data), commit)
    if verdict is Verdict.DROP:
        _fill_gap(repo, commit, replayed=replayed, now_us=now_us)
        return True
    is_next = commit.since == repo.rev
    if verdict is Verdict.DESYNC or (not is_next and repo.sync_state == "desynchronized"):
        _open_gap(repo, commit, replayed=replayed, now_us=now_us)
    elif not is_next:
        _note_gap(repo, commit.since, commit.prev_data)
    repo.rev, repo.data, repo.rev_by_replay = commit.rev, commit.data, replayed
    return True


def follow_sync(repo: Repo, sync: LiveSync, *, replayed: bool, now_us: int) -> None:
    """Compare a ``#sync`` with what is stored."""
    if repo.status != "active" or sync.rev <= (repo.void_rev or ""):
        _drop(repo, sync.rev, sync.at_us, now_us)
        return
    verdict = judge_sync(StoredRepo(repo.rev, repo.data), sync.rev, sync.data)
    if verdict is Verdict.DROP:
        return
    if verdict is Verdict.DESYNC:
        desynchronize(repo, Desync.SYNC, sync.rev, now_us)
    elif sync.rev > (repo.rev or "") and repo.sync_state == "synchronized":
        _note_gap(repo, sync.rev, sync.data)
    elif sync.rev > (repo.rev or ""):
        _forget_gap(repo)
    repo.rev, repo.data, repo.rev_by_replay = sync.rev, sync.data, replayed


def follow_broken(repo: Repo, broken: LiveBroken, now_us: int) -> None:
    """A frame was refused: what it claimed to bring may be missing. Its rev is a claim, believed if it can be."""
    claimed = broken.rev or ""
    time = tid_time(claimed)
    rev = claimed if time is not None and time <= now_us + _FUTURE_US else repo.rev or ""
    if not claimed or not _is_covered(repo, rev, broken.at_us):
        desynchronize(repo, broken.reason, rev, now_us)


def desynchronize(repo: Repo, reason: str, rev: str, now_us: int) -> None:
    """Something at or below ``rev`` may be missing: ask for a resync, the later the more were asked for of late."""
    if repo.sync_state == "synchronized":
        repo.sync_state, repo.desync_at, repo.desync_rev = "desynchronized", now_us, None
        if repo.resync_filed_at is None or repo.resync_filed_at < now_us - _CALM_US:
            repo.resync_tries = 0
        first = _FIRST_SECONDS_OF_GAP if reason in _MENDABLE else _FIRST_SECONDS
        repo.resync_at = now_us + first * 1_000_000
        if repo.resync_tries and repo.resync_filed_at is not None:
            pause = RESYNC_SECONDS[min(repo.resync_tries, len(RESYNC_SECONDS)) - 1]
            repo.resync_at = max(repo.resync_at, repo.resync_filed_at + pause * 1_000_000)
    if repo.desync_rev is None or rev >= repo.desync_rev:
        repo.desync_reason, repo.desync_rev = reason, rev
    if reason not in _MENDABLE:
        _forget_gap(repo)


def catch_up(repo: Repo, end: SnapshotEnd, kept_from: int | None, now_us: int) -> None:
    """A snapshot is in the table. ``kept_from``: what was to be held before it (``Repo.kept_from``).

    One of less than that moves no chain: what is missing between the stored rev and its own may lie outside of it.
    """
    reaches = _reaches(repo, end, kept_from)
    if repo.sync_state == "synchronized":
        _lift_gap(repo, end, now_us, reaches=reaches)
    elif reaches and not _is_from_before_return(repo, end):
        claim_only = repo.desync_reason not in set(Desync) and repo.resync_tries >= _CLAIMS_TRIED
        if end.rev >= (repo.desync_rev or "") or claim_only:
            synchronize(repo)
        elif repo.gap_since is not None and (repo.gap_rev or "") <= end.rev <= repo.gap_since:
            repo.gap_rev, repo.gap_data = end.rev, end.data or None
            repo.earlier_since = repo.earlier_prev_data = None
            _close_gap(repo)
    if reaches and end.rev >= (repo.rev or ""):
        repo.rev_by_replay = False
        repo.rev, repo.data = end.rev or repo.rev, end.data or repo.data


def _is_from_before_return(repo: Repo, end: SnapshotEnd) -> bool:
    """Whether an account may have written while it was away what the snapshot does not hold: no rev tells of that."""
    return repo.desync_reason == Desync.RETURNED and end.at_us < (repo.status_at or 0)


def _lift_gap(repo: Repo, end: SnapshotEnd, now_us: int, *, reaches: bool) -> None:
    """What nobody missed below the gap's end is missed if the table now holds the repo as it was within the gap."""
    if repo.gap_since is None or end.rev <= (repo.gap_rev or ""):
        return
    if end.rev >= repo.gap_since:
        if reaches:
            _forget_gap(repo)
        return
    repo.gap_rev, repo.gap_data = end.rev, end.data or None
    desynchronize(repo, Desync.GAP, repo.gap_since, now_us)
    if not reaches:
        _forget_gap(repo)


def forget_chain(repo: Repo) -> None:
    """Nothing is known of the repo any more."""
    repo.rev = repo.data = None
    repo.rev_by_replay = False
    _forget_gap(repo)


def _drop(repo: Repo, rev: str, at_us: int, now_us: int) -> None:
    # Later deliveries of it must not count either: what it was followed by is dropped as well.
    repo.void_rev = max(repo.void_rev or "", rev)
    if not _is_covered(repo, rev, at_us):
        desynchronize(repo, Desync.DROPPED, rev, now_us)


def _is_covered(repo: Repo, rev: str, at_us: int) -> bool:
    """Whether a snapshot in the table holds what an event at ``rev`` brought."""
    if repo.floor_rev is not None and rev <= repo.floor_rev:
        return True
    is_swept = repo.scoped_rev is not None and rev <= repo.scoped_rev
    return is_swept and repo.scoped_cutoff is not None and at_us >= repo.scoped_cutoff


def _reaches(repo: Repo, end: SnapshotEnd, kept_from: int | None) -> bool:
    if end.whole or end.cutoff_us is None:
        return end.whole
    return repo.floor_rev is None if kept_from is None else end.cutoff_us <= kept_from


def _note_gap(repo: Repo, since: str | None, prev_data: str | None) -> None:
    """Between what is stored and ``since`` there were commits that nobody misses: they come before all that is stored,
    or have undone themselves. But if one comes late, those after it have to come as well. Two such gaps count as one.
    """
    if repo.gap_since is None:
        repo.gap_rev, repo.gap_data = repo.rev, repo.data
    repo.gap_since, repo.gap_prev_data = since, prev_data


def _open_gap(repo: Repo, commit: LiveCommit, *, replayed: bool, now_us: int) -> None:
    is_first = repo.sync_state == "synchronized"
    awaits_replay = is_first and repo.rev_by_replay and not replayed
    desynchronize(repo, Desync.AWAITS_REPLAY if awaits_replay else Desync.GAP, commit.rev, now_us)
    earlier = (repo.gap_since, repo.gap_prev_data)
    _forget_gap(repo)
    if is_first:  # of two gaps neither is mended by commits
        _note_gap(repo, commit.since, commit.prev_data)
        repo.earlier_since, repo.earlier_prev_data = earlier


def _fill_gap(repo: Repo, commit: LiveCommit, *, replayed: bool, now_us: int) -> None:
    if repo.earlier_since is not None and commit.rev <= repo.earlier_since:
        _fill_earlier_gap(repo, commit)
        return
    if repo.gap_since is None or not (repo.gap_rev or "") < commit.rev <= repo.gap_since:
        return
    if commit.rev == repo.gap_since and repo.gap_rev != commit.since and _precedes(repo, commit):
        # It is followed by all that is stored. What comes before it is still to lead up to it.
        repo.gap_since, repo.gap_prev_data = commit.since, commit.prev_data
        return
    if repo.gap_rev is None:
        repo.earlier_since, repo.earlier_prev_data = commit.since, commit.prev_data
    if repo.gap_rev is None or _follows(repo, commit):
        repo.gap_rev, repo.gap_data = commit.rev, commit.data
        if _close_gap(repo):
            return
    if repo.sync_state == "synchronized":
        desynchronize(repo, Desync.AWAITS_REPLAY if replayed else Desync.GAP, repo.gap_since, now_us)


def _fill_earlier_gap(repo: Repo, commit: LiveCommit) -> None:
    if commit.rev == repo.earlier_since and repo.earlier_prev_data in (None, commit.data):
        repo.earlier_since, repo.earlier_prev_data = commit.since, commit.prev_data
    else:
        _forget_gap(repo)  # now something is missed of two gaps


def _precedes(repo: Repo, commit: LiveCommit) -> bool:
    """Whether a commit is the one that what is known above the gap continues."""
    return repo.gap_prev_data in (None, commit.data)


def _follows(repo: Repo, commit: LiveCommit) -> bool:
    """Whether a commit is the next one above what is known below the gap: here nothing may be left out."""
    return commit.since == repo.gap_rev and (
        commit.prev_data is None or repo.gap_data is None or commit.prev_data == repo.gap_data
    )


def _close_gap(repo: Repo) -> bool:
    if repo.gap_rev != repo.gap_since:
        return False
    if repo.gap_data is not None and repo.gap_prev_data is not None and repo.gap_data != repo.gap_prev_data:
        return False
    earlier = (repo.earlier_since, repo.earlier_prev_data)
    synchronize(repo)
    repo.gap_since, repo.gap_prev_data = earlier
    return True


def synchronize(repo: Repo) -> None:
    """Nothing is missing of the repo."""
    repo.sync_state = "synchronized"
    repo.desync_reason = repo.desync_rev = repo.desync_at = repo.resync_at = None
    _forget_gap(repo)


def _forget_gap(repo: Repo) -> None:
    repo.gap_rev = repo.gap_data = repo.gap_since = repo.gap_prev_data = None
    repo.earlier_since = repo.earlier_prev_data = None
