"""What the indexer answers over request and reply, in JSON. Only the indexer speaks SQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, computed_field

from headwater.bus.jobs import BackfillRequest

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MOST_STANDINGS: Final = 1_000
"""Accounts in one question or answer about many."""
MOST_REPO_STATES: Final = 256
"""Repos in one question before their snapshots are fetched."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class AccountQuery(_Message):
    """A question about one account."""

    did: str


class StatsQuery(_Message):
    """How much is held of an account? Answered after so many milliseconds, whether it is counted by then or not."""

    did: str
    patience_ms: int = 8_000


class RepoState(_Message):
    """What the table knows of a repo before a snapshot is fetched.

    ``floor_rev``: everything up to this rev is in the table (a snapshot of the whole repo was swept at it).
    ``scoped_rev`` and ``scoped_cutoff_us``: the newest swept snapshot with a cutoff. ``held``: rows were
    written, which may be there.
    ``floor_collections`` and ``scoped_collections`` are the filters (``COLLECTIONS``) of these snapshots.
    ``epoch`` goes into every message of the job: a deletion of the account's rows raises it, and what was begun
    before is dropped.
    """

    did: str
    epoch: int = 0
    held: bool = False
    floor_rev: str | None = None
    scoped_rev: str | None = None
    scoped_cutoff_us: int | None = None
    floor_collections: str = ""
    scoped_collections: str = ""
    opted_out: bool = False


class RepoStatesQuery(_Message):
    """What does the table know of these repos, snapshots of which are about to be fetched?"""

    dids: list[str] = Field(min_length=1, max_length=MOST_REPO_STATES)


class RepoStates(_Message):
    """Of each repo that was asked for, in any order."""

    states: list[RepoState]


class CollectionCount(_Message):
    """Records of one collection. Times are effective times in microseconds since 1970."""

    collection: str
    records: int
    bytes: int = 0
    first_at_us: int | None = None
    last_at_us: int | None = None


class MonthCount(_Message):
    """Records of one month (UTC) of the effective time, such as ``2024-05``."""

    month: str
    records: int


class AccountStats(_Message):
    """What the table holds of an account.

    ``bytes`` are of the records as Postgres stores them, compressed, without keys and indexes. ``collections`` are the
    largest 500, ``months`` the newest 600 that have records, oldest first. ``counted_at_us``: the figures of a large
    account are kept for a minute; None: there are none yet. ``counting``: newer ones are on their way, ask again.
    """

    did: str
    records: int
    bytes: int = 0
    first_at_us: int | None = None
    last_at_us: int | None = None
    collections: list[CollectionCount]
    months: list[MonthCount] = []
    counted_at_us: int | None = None
    counting: bool = False


class AccountSettings(_Message):
    """An account's settings and the state of its repo here. ``last_backfill_at_us`` moves on success only.

    ``sync_state`` is synchronized or desynchronized (``desync_reason`` says why), unknown for a repo never heard of.
    ``tracked_from_us`` is the oldest event of the firehose that was followed; None: its events are not followed.
    ``floor_rev``: up to this rev the whole repo is in the table, but for ``excluded``, the collections that the account
    keeps out. ``incomplete``: one of them was let in again, and a backfill of all time has to bring it. ``deleting``:
    rows that nobody is shown any more are still being deleted. ``may_be_recommended``: what the account's own
    app.bsky.actor.contentVisibilityDeclaration says, as far as it is held here.
    """

    did: str
    handle: str | None = None
    pds: str | None = None
    status: str = "unknown"
    rev: str | None = None
    last_backfill_at_us: int | None = None
    last_backfill_days: int | None = None
    sync_state: str = "unknown"
    desync_reason: str | None = None
    tracked_from_us: int | None = None
    opted_out: bool = False
    excluded: list[str] = []
    deleting: bool = False
    incomplete: bool = False
    floor_rev: str | None = None
    may_be_recommended: bool = True

    @computed_field  # type: ignore[prop-decorator]
    @property
    def last_backfill_at(self) -> datetime | None:
        """``last_backfill_at_us`` as a date, in UTC (RFC 3339)."""
        at_us = self.last_backfill_at_us
        return None if at_us is None else _EPOCH + timedelta(microseconds=at_us)


class ChangePrivacy(_Message):
    """What an account decides about its own data. Asking twice is the same as asking once.

    One of three: ``opted_out`` (stop indexing me, start again), ``collection`` with ``excluded`` (keep it out, let it
    in again), ``delete`` (all of the account's data goes, and it is opted out).
    """

    did: str
    opted_out: bool | None = None
    collection: str | None = None
    excluded: bool = False
    delete: bool = False


class PrivacyChanged(_Message):
    """The settings after a change. ``refused`` says why nothing has changed: deletion_running, too_many_excluded."""

    settings: AccountSettings
    refused: str | None = None


class FetchAnewAsked(_Message):
    """The answer to ``FETCH_ANEW``, an AccountQuery: fetch a repo again, though the table may hold its newest rev.

    ``request`` is what was put into the queue; None where a resync of the account waits or runs already.
    """

    request: BackfillRequest | None


class RecordPlace(_Message):
    """The record to go on behind. ``created_at_us`` counts where the newest come first."""

    collection: str
    rkey: str
    created_at_us: int = 0


class RecordsQuery(_Message):
    """A page of an account's records; the answer is ``headwater.bus.records.RecordsPage``.

    ``newest_first``: of one collection, at most ``limit``, those that hold ``text`` if there is one. Otherwise of one
    collection or all, by key, as many as fit a page.
    """

    did: str
    collection: str | None = None
    newest_first: bool = False
    text: str | None = None
    limit: int = 50
    after: RecordPlace | None = None


class StandingsQuery(_Message):
    """A question about many accounts: how the table has them."""

    dids: list[str] = Field(max_length=MOST_STANDINGS)


class Standing(_Message):
    """An account in the table: its status there, and whether its events are followed (``TRACK``)."""

    did: str
    status: str
    followed: bool


class Standings(_Message):
    """Those of the accounts that the table knows. ``follows_all``: so are those followed that it does not know yet."""

    standings: list[Standing]
    follows_all: bool


class FollowedQuery(_Message):
    """A page of the active accounts that are followed, by DID, behind ``after``."""

    after: str = ""
    limit: int = Field(MOST_STANDINGS, ge=1, le=MOST_STANDINGS)


class FollowedPage(_Message):
    """The page; fewer than were asked for are the last."""

    dids: list[str]
