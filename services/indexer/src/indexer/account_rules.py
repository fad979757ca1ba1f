"""What became of an account: its status, its deletion, its handle and PDS. On locked rows. Pure.

Source: https://atproto.com/specs/account. Each statement carries its time, and the newest one holds, so that a
replayed one loses to what is known already.
"""

from __future__ import annotations

from typing import Final

from headwater.bus.messages import LiveAccount, LiveIdentity
from headwater.tid import tid_from
from indexer.state import Repo
from indexer.sync_rules import Desync, desynchronize, forget_chain

_STATUS_OF: Final = {
    "deactivated": "deactivated",
    "suspended": "suspended",
    "takendown": "taken_down",
    "deleted": "deleted",
}
_OTHER = "inactive"
_LENGTH = 2_000


def follow_account(repo: Repo, account: LiveAccount, now_us: int) -> bool:
    """Take an account's new status; whether its rows have to go."""
    at = min(account.at_us, now_us)
    status = "active" if account.active else _STATUS_OF.get(account.status or "", _OTHER)
    if repo.status_at is not None and at < repo.status_at:
        if status == "deleted" and repo.status != "deleted":
            # It has come back since; what was before may have been written late.
            desynchronize(repo, Desync.RETURNED, repo.rev or "", now_us)
        return False
    before = repo.status
    repo.status, repo.status_at = status, at
    if status == "active" and before != "active":
        desynchronize(repo, Desync.RETURNED, repo.rev or "", now_us)
    if status != "deleted" or before == "deleted":
        return False
    # The replay may tell of it late, when the account has been there again for long. Then the rows that go are of the
    # new repo, and only a snapshot that holds them all may end the desynchronization.
    desynchronize(repo, Desync.RETURNED, repo.rev or "", now_us)
    delete_account(repo, at)
    return True


def follow_identity(repo: Repo, identity: LiveIdentity, now_us: int) -> None:
    """Take a handle (None: not verified any more) and a PDS."""
    at = min(identity.at_us, now_us)
    if repo.identity_at is not None and at < repo.identity_at:
        return
    repo.identity_at = at
    repo.handle = printable(identity.handle)
    repo.pds = printable(identity.pds) or repo.pds


def note_answer(repo: Repo, status: str, at_us: int) -> None:
    """The account's host was asked at ``at_us`` and has shown this status. 0: nobody was asked (an imported file)."""
    if repo.status_at is None or at_us >= repo.status_at:
        repo.status = status
        repo.status_at = at_us or None


def note_identity(repo: Repo, handle: str | None, pds: str | None, at_us: int) -> None:
    """A job has resolved the account at ``at_us``."""
    if repo.identity_at is None or at_us >= repo.identity_at:
        repo.handle = printable(handle) or repo.handle
        repo.pds = printable(pds) or repo.pds


def printable(text: str | None) -> str | None:
    """What a stranger said, without U+0000, which no text in Postgres can hold."""
    return text.replace("\0", "")[:_LENGTH] if text else None


def delete_account(repo: Repo, at: int) -> None:
    """The repo is as if never heard of, but for commits from before: those stay void, and so do running jobs."""
    repo.epoch += 1
    repo.void_rev = max(repo.void_rev or "", repo.rev or "", repo.swept_rev or "", tid_from(max(at, 0)))
    repo.floor_rev = repo.swept_rev = repo.scoped_rev = repo.scoped_cutoff = None
    repo.purging = True
    repo.end_snapshot()
    forget_chain(repo)
