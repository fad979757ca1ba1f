"""What the indexer answers over request and reply."""

from __future__ import annotations

import asyncio

import asyncpg

from headwater.bus.queries import AccountSettings, AccountStats, CollectionCount, MonthCount, RepoState
from indexer.database import Database, translated
from indexer.state import Track
from indexer.statements import SQL

_IN_ALL, _OF_MONTH, _OF_COLLECTION = 3, 2, 1
_COLLECTIONS, _MONTHS = 500, 600


class Answers:
    """Questions about one account, one at a time. All raise TransientError when Postgres is away."""

    def __init__(self, database: Database, track: Track = Track.ALL) -> None:
        self._track = track
        self._database = database
        self._turn = asyncio.Lock()

    async def repo_state(self, did: str) -> RepoState:
        """What the table knows of a repo before a snapshot of it is fetched.

        With TRACK=backfilled its live events are followed from here on: none between the snapshot and its first
        batch may be missed.
        """
        if self._track is Track.BACKFILLED:
            await self._fetch("track_repo", did)
        (row,) = await self._fetch("repo_state", did)
        return RepoState(
            did=did,
            epoch=row["epoch"],
            held=row["held"],
            floor_rev=row["floor_rev"],
            scoped_rev=row["scoped_rev"],
            scoped_cutoff_us=row["scoped_cutoff"],
            floor_collections=row["floor_collections"],
            scoped_collections=row["scoped_collections"],
            opted_out=row["opted_out"],
        )

    async def account_stats(self, did: str) -> AccountStats:
        """What the table holds of an account."""
        rows = await self._fetch("account_stats", did, _COLLECTIONS, _MONTHS)
        (total,) = (row for row in rows if row["kind"] == _IN_ALL)
        return AccountStats(
            did=did,
            records=total["records"],
            bytes=total["bytes"] or 0,
            first_at_us=total["first_at"],
            last_at_us=total["last_at"],
            collections=[_collection(row) for row in rows if row["kind"] == _OF_COLLECTION],
            months=[MonthCount(month=row["month"], records=row["records"]) for row in rows if row["kind"] == _OF_MONTH],
        )

    async def account_settings(self, did: str) -> AccountSettings:
        """An account's settings and the state of its repo."""
        (row,) = await self._fetch("account_settings", did)
        return AccountSettings(
            did=did,
            handle=row["handle"],
            pds=row["pds"],
            status=row["status"],
            rev=row["rev"],
            last_backfill_at_us=row["last_backfill_at"],
            last_backfill_days=row["last_backfill_days"],
            sync_state=row["sync_state"],
            desync_reason=row["desync_reason"],
            tracked_from_us=row["tracked_from"],
            opted_out=row["opted_out"],
            excluded=row["excluded"],
            deleting=row["deleting"],
            incomplete=row["incomplete"],
            floor_rev=row["floor_rev"],
        )

    async def _fetch(self, name: str, did: str, *others: int) -> list[asyncpg.Record]:
        async with self._turn:
            connection = await self._database.connection()
            with translated():
                return list(await connection.fetch(SQL[name], did, *others))


def _collection(row: asyncpg.Record) -> CollectionCount:
    return CollectionCount(
        collection=row["collection"],
        records=row["records"],
        bytes=row["bytes"],
        first_at_us=row["first_at"],
        last_at_us=row["last_at"],
    )
