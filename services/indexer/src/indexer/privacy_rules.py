"""What an account decides about its own data: opting out, excluding collections, deleting all. On locked rows. Pure."""

from __future__ import annotations

from headwater.bus.queries import ChangePrivacy
from headwater.errors import Reason
from indexer.account_rules import delete_account
from indexer.state import Repo
from indexer.sync_rules import Desync, desynchronize, synchronize

MAX_EXCLUDED = 200
"""Collections that an account can exclude: each is compared with every record of the account."""


def decide(repo: Repo, change: ChangePrivacy, now_us: int) -> str | None:
    """Make a change, or say why not (nothing has changed then). Making it twice is the same as making it once."""
    if change.delete:
        _delete(repo, now_us)
        return None
    if change.collection is not None:
        return (_exclude if change.excluded else _include)(repo, change.collection, now_us)
    if change.opted_out is True:
        repo.opted_out = True
    elif change.opted_out is False and repo.opted_out:
        return _opt_in(repo, now_us)
    return None


def reason_of(change: ChangePrivacy) -> Reason | None:
    """Why jobs that run now end with the change; None when they go on."""
    if change.delete:
        return Reason.ACCOUNT_DELETED
    return Reason.OPTED_OUT if change.opted_out else None


def lets_in(change: ChangePrivacy) -> bool:
    """Whether a snapshot that is being written lacks what the change lets in, and has to be fetched again."""
    return change.collection is not None and not change.excluded


def _delete(repo: Repo, now_us: int) -> None:
    """Who deletes their data does not want it back: the account is opted out with it, and no resync is to come."""
    delete_account(repo, now_us)
    synchronize(repo)
    repo.opted_out, repo.incomplete = True, False
    repo.handle = repo.pds = repo.rev = repo.data = None
    repo.last_backfill_at = repo.last_backfill_days = repo.tracked_from = None


def _opt_in(repo: Repo, now_us: int) -> str | None:
    if repo.purging:
        return "deletion_running"
    repo.opted_out = False
    _invite(repo, now_us)
    return None


def _exclude(repo: Repo, collection: str, _: int) -> str | None:
    if collection in repo.excluded:
        return None
    if len(repo.excluded) >= MAX_EXCLUDED:
        return "too_many_excluded"
    repo.excluded = [*repo.excluded, collection]
    repo.purging_collections = [*repo.purging_collections, collection]
    return None


def _include(repo: Repo, collection: str, now_us: int) -> str | None:
    if collection not in repo.excluded:
        return None
    if collection in repo.purging_collections:
        return "deletion_running"
    repo.excluded = [name for name in repo.excluded if name != collection]
    repo.incomplete = True
    _invite(repo, now_us)
    return None


def _invite(repo: Repo, now_us: int) -> None:
    """What came meanwhile was dropped, deletes too; so none of it counts when it comes again, and all is fetched.

    Of a repo that was deleted there is nothing to be in step with.
    """
    if newest := max(repo.rev or "", repo.swept_rev or ""):
        repo.void_rev = max(repo.void_rev or "", newest)
        desynchronize(repo, Desync.INVITED, newest, now_us)
