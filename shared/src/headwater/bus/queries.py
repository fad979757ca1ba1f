"""What the indexer answers over request and reply, in JSON. Only the indexer speaks SQL."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class AccountQuery(_Message):
    """A question about one account."""

    did: str


class RepoState(_Message):
    """What the table knows of a repo before a snapshot is fetched.

    ``floor_rev``: everything up to this rev is in the table (a snapshot of the whole repo was swept at it).
    ``scoped_rev`` and ``scoped_cutoff_us``: the newest swept snapshot with a cutoff. ``held``: rows exist.
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


class CollectionCount(_Message):
    """Records of one collection. Times are effective times in microseconds since 1970."""

    collection: str
    records: int
    first_at_us: int | None = None
    last_at_us: int | None = None


class AccountStats(_Message):
    """What the table holds of an account."""

    did: str
    records: int
    collections: list[CollectionCount]


class AccountSettings(_Message):
    """An account's settings and the state of its repo here. ``last_backfill_at_us`` moves on success only.

    ``sync_state`` is synchronized or desynchronized (``desync_reason`` says why), unknown for a repo never heard of.
    ``tracked_from_us`` is the oldest event of the firehose that was followed; None: its events are not followed.
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
