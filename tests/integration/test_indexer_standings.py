"""How the table has accounts, asked for many at once: by crawls, and when a gap is closed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from headwater.bus.messages import LiveAccount
from headwater.bus.queries import FollowedQuery, RepoStatesQuery, Standing, StandingsQuery
from indexer.answers import Answers
from indexer.database import Database
from indexer.live import write_events
from indexer.state import Track
from indexer_rig import migrated

A, B, C, NOBODY = (f"did:plc:{letter * 24}" for letter in "abcz")


@pytest.fixture
async def tables(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A is followed, B is deactivated, C is in the table and not followed."""
    async with migrated(database_url) as connection:
        told = [LiveAccount(did=A, seq=1, at_us=100, active=True)]
        told += [LiveAccount(did=B, seq=2, at_us=100, active=False, status="deactivated")]
        await write_events(connection, told)
        await connection.execute("INSERT INTO repo (did) VALUES ($1)", C)
        yield connection


@pytest.mark.parametrize("track", list(Track))
async def test_who_is_known_and_who_is_followed(tables: asyncpg.Connection, database_url: str, track: Track) -> None:
    database = Database(database_url, "answers")
    answer = await Answers(database, track).standings(StandingsQuery(dids=[A, B, C, NOBODY]))
    await database.close()
    assert answer.follows_all is (track is Track.ALL)
    assert sorted(answer.standings, key=lambda one: one.did) == [
        Standing(did=A, status="active", followed=True),
        Standing(did=B, status="deactivated", followed=True),
        Standing(did=C, status="active", followed=False),
    ]


@pytest.mark.parametrize("track", list(Track))
async def test_repos_are_followed_from_the_question_before_their_snapshots_on(
    tables: asyncpg.Connection, database_url: str, track: Track
) -> None:
    followed = "SELECT did, tracked_from FROM repo WHERE tracked_from IS NOT NULL ORDER BY did"
    before = [tuple(row) for row in await tables.fetch(followed)]
    database = Database(database_url, "answers")
    answer = await Answers(database, track).repo_states(RepoStatesQuery(dids=[NOBODY, C, A, NOBODY, C.upper(), A, C]))
    await database.close()
    assert {state.did for state in answer.states} == {A, C, NOBODY, C.upper()}
    after = [tuple(row) for row in await tables.fetch(followed)]
    assert [row for row in after if row in before] == before, "nothing is followed anew"
    new = {C, NOBODY, C.upper()} if track is Track.BACKFILLED else set()
    assert {did for did, _ in after} == {A, B} | new


async def test_the_active_accounts_that_are_followed_by_pages(tables: asyncpg.Connection, database_url: str) -> None:
    others = [f"did:plc:{letter * 24}" for letter in "defg"]
    await write_events(tables, [LiveAccount(did=did, seq=1, at_us=100, active=True) for did in others])
    await tables.execute("UPDATE repo SET opted_out = true WHERE did = $1", others[0])
    database = Database(database_url, "answers")
    answers, after, pages = Answers(database), "", []
    while not pages or len(pages[-1]) == 2:
        pages.append((await answers.followed(FollowedQuery(after=after, limit=2))).dids)
        after = pages[-1][-1] if pages[-1] else after
    await database.close()
    assert [did for page in pages for did in page] == [A, *others[1:]]
