"""What the indexer answers over request and reply."""

from __future__ import annotations

import asyncio

import asyncpg

from headwater.bus.queries import (
    AccountSettings,
    FollowedPage,
    FollowedQuery,
    RepoState,
    RepoStates,
    RepoStatesQuery,
    Standing,
    Standings,
    StandingsQuery,
)
from indexer.database import Database, translated
from indexer.state import Track, kept_from
from indexer.statements import SQL


class Answers:
    """Questions about accounts, one at a time. All raise TransientError when Postgres is away."""

    def __init__(self, database: Database, track: Track = Track.ALL) -> None:
        self._track = track
        self._database = database
        self._turn = asyncio.Lock()

    async def repo_states(self, query: RepoStatesQuery) -> RepoStates:
        """What the table knows of repos before snapshots of them are fetched.

        With TRACK=backfilled their live events are followed from here on: none between a snapshot and its first
        batch may be missed.
        """
        if self._track is Track.BACKFILLED:
            await self._fetch("track_repos", query.dids)
        return RepoStates(states=[_state(row) for row in await self._fetch("repo_states", query.dids)])

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
            may_be_recommended=row["may_be_recommended"],
        )

    async def kept_from(self, did: str) -> int | None:
        """The effective time from which on the table is to hold the account's records; None is all time."""
        rows = await self._fetch("kept_from", did)
        return kept_from(*rows[0]) if rows else None

    async def standings(self, query: StandingsQuery) -> Standings:
        """How the table has many accounts."""
        rows = await self._fetch("standings", query.dids)
        found = [Standing(did=row["did"], status=row["status"], followed=row["followed"]) for row in rows]
        return Standings(standings=found, follows_all=self._track is Track.ALL)

    async def followed(self, query: FollowedQuery) -> FollowedPage:
        """A page of the active accounts that are followed."""
        return FollowedPage(dids=[row["did"] for row in await self._fetch("followed", query.after, query.limit)])

    async def _fetch(self, name: str, did: str | list[str], *others: int) -> list[asyncpg.Record]:
        async with self._turn:
            connection = await self._database.connection()
            with translated():
                return list(await connection.fetch(SQL[name], did, *others))


def _state(row: asyncpg.Record) -> RepoState:
    return RepoState(
        did=row["did"],
        epoch=row["epoch"],
        held=row["held"],
        floor_rev=row["floor_rev"],
        scoped_rev=row["scoped_rev"],
        scoped_cutoff_us=row["scoped_cutoff"],
        floor_collections=row["floor_collections"],
        scoped_collections=row["scoped_collections"],
        opted_out=row["opted_out"],
    )
