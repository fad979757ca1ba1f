"""What com.atproto.sync.listRepos and listHosts answer, and which of the repos a crawl wants. Pure.

Answers are a stranger's: an entry that makes no sense is counted and left out, its siblings go on.
Source: https://github.com/bluesky-social/atproto/tree/main/lexicons/com/atproto/sync
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from headwater.errors import InvalidInputError, Reason
from headwater.syntax import is_did
from headwater.tid import tid_time

_MAX_CURSOR: Final = 2_048
_MAX_HOSTNAME: Final = 260
_MAX_STATUS: Final = 200
CLOCK_MARGIN_US: Final = 3_600_000_000
"""Revs are the hosts' clocks' readings. One that is this much before a crawl's cutoff is older than it."""


class ListedRepo(NamedTuple):
    """A repo in a list. ``rev_us`` is its rev's time in microseconds since 1970, None where it makes no sense.
    ``status`` says why it is not active, if the list does."""

    did: str
    rev_us: int | None
    active: bool
    status: str | None = None


class RepoPage(NamedTuple):
    """A page of repos; ``cursor`` asks for the next one, None on the last."""

    repos: list[ListedRepo]
    malformed: int
    cursor: str | None


class ListedHost(NamedTuple):
    """A host that a relay follows. ``accounts`` is the relay's count of them, None where it does not say."""

    hostname: str
    accounts: int | None
    banned: bool


class HostPage(NamedTuple):
    """A page of hosts; ``cursor`` asks for the next one, None on the last."""

    hosts: list[ListedHost]
    malformed: int
    cursor: str | None


def parse_repos(value: object) -> RepoPage:
    """A page of listRepos, from its JSON. Raises InvalidInputError(RESPONSE_MALFORMED)."""
    entries, cursor = _page(value, "repos")
    found = [_repo(entry) for entry in entries]
    repos = [repo for repo in found if repo is not None]
    return RepoPage(repos, len(found) - len(repos), cursor)


def parse_hosts(value: object) -> HostPage:
    """A page of listHosts, from its JSON. Raises InvalidInputError(RESPONSE_MALFORMED)."""
    entries, cursor = _page(value, "hosts")
    found = [_host(entry) for entry in entries]
    hosts = [host for host in found if host is not None]
    return HostPage(hosts, len(found) - len(hosts), cursor)


def host_origin(hostname: str, *, private: bool) -> str:
    """Where a listed host is asked. ``private``: in development hosts with a port speak http."""
    return f"{'http' if private and ':' in hostname else 'https'}://{hostname}"


def is_wanted(repo: ListedRepo, cutoff_us: int | None) -> bool:
    """Whether a repo may hold what was created or changed at ``cutoff_us`` or later (None: everything is wanted).

    A rev that names no time says nothing, so the repo is asked.
    """
    if not repo.active:
        return False
    return cutoff_us is None or repo.rev_us is None or repo.rev_us >= cutoff_us - CLOCK_MARGIN_US


def _page(value: object, name: str) -> tuple[list[Any], str | None]:
    entries = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(entries, list):
        raise InvalidInputError(Reason.RESPONSE_MALFORMED, f"a page without {name}")
    cursor = value.get("cursor")
    if cursor is not None and (not isinstance(cursor, str) or len(cursor) > _MAX_CURSOR):
        raise InvalidInputError(Reason.RESPONSE_MALFORMED, f"a page of {name} with a cursor that is none")
    return entries, cursor or None


def _repo(entry: object) -> ListedRepo | None:
    if not isinstance(entry, dict):
        return None
    did, rev = entry.get("did"), entry.get("rev")
    if not isinstance(did, str) or not is_did(did):
        return None
    # Older hosts do not say whether an account is active.
    active = entry.get("active", True) is True
    status = entry.get("status")
    said = status[:_MAX_STATUS] if isinstance(status, str) and not active else None
    return ListedRepo(did, tid_time(rev) if isinstance(rev, str) else None, active, said)


def _host(entry: object) -> ListedHost | None:
    if not isinstance(entry, dict):
        return None
    hostname, accounts = entry.get("hostname"), entry.get("accountCount")
    if not isinstance(hostname, str) or not 0 < len(hostname) <= _MAX_HOSTNAME:
        return None
    counted = accounts if isinstance(accounts, int) and not isinstance(accounts, bool) and accounts >= 0 else None
    return ListedHost(hostname, counted, entry.get("status") == "banned")
