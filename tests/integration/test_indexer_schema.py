"""Migrations that meet, and views that meet strangers' JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from headwater.bus.jobs import new_job_id
from headwater.clock import DAY_US, now_us
from headwater.errors import InvariantError
from indexer.database import Database, connect
from indexer.live import write_events
from indexer.migrate import Migration, migrate, migrations
from indexer.retention import forget_old
from indexer_rig import DID, OTHER, commit, migrated


@pytest.fixture
async def table(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with migrated(database_url) as connection:
        yield connection


async def test_several_workers_migrate_at_once(database_url: str) -> None:
    connections = [await connect(database_url, "test") for _ in range(4)]
    applied = await asyncio.gather(*(migrate(connection) for connection in connections))
    for connection in connections:
        await connection.close()
    assert sorted(map(len, applied)) == [0, 0, 0, len(migrations())]


async def test_a_changed_migration_is_a_broken_invariant(database_url: str) -> None:
    connection = await connect(database_url, "test")
    await migrate(connection, [Migration("migrations/0001_a.sql", "CREATE TABLE a ()")])
    with pytest.raises(InvariantError, match=r"0001_a\.sql"):
        await migrate(connection, [Migration("migrations/0001_a.sql", "CREATE TABLE a (b int)")])
    await connection.close()


async def test_a_migration_that_fails_leaves_nothing(database_url: str) -> None:
    connection = await connect(database_url, "test")
    broken = Migration("migrations/0001_a.sql", "CREATE TABLE a (); SELECT 1/0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, [broken])
    assert await connection.fetchval("SELECT to_regclass('a')") is None
    await migrate(connection, [Migration("migrations/0001_a.sql", "CREATE TABLE a ()")])
    await connection.close()


async def test_a_collection_that_gets_its_file_takes_its_rows_along(table: asyncpg.Connection) -> None:
    await write_events(table, [commit(1, {(OTHER, "a"): 1, ("com.example.other", "b"): 2})])
    text = f"CALL create_record_partition('record_thing', '{OTHER}');"
    await migrate(table, [*migrations(), Migration(f"collections/{OTHER}.sql", text)])
    assert [row["rkey"] for row in await table.fetch("SELECT rkey FROM record_thing")] == ["a"]
    assert [row["rkey"] for row in await table.fetch("SELECT rkey FROM record_other")] == ["b"]
    await write_events(table, [commit(2, {(OTHER, "a"): 3})])
    assert await table.fetchval("SELECT record ->> 'value' FROM record WHERE rkey = 'a'") == "3"


async def insert(table: asyncpg.Connection, collection: str, rkey: str, record: str) -> None:
    await table.execute(
        "INSERT INTO record (did, collection, rkey, cid, rev, created_at, record)"
        " VALUES ($1, $2, $3, 'c', 'r', timestamptz 'epoch', $4)",
        DID,
        collection,
        rkey,
        record,
    )


HOSTILE = [
    "{}",
    '{"text": 5, "langs": "en", "createdAt": "now", "reply": "x", "embed": [], "labels": {"values": 7}}',
    '{"langs": [1, null, "en", {"a": []}], "facets": {}, "subject": [[]], "list": {"uri": 1}, "avatar": "x"}',
    '{"durationMinutes": 1e4000, "lexicon": 99999999999999999999, "acceptsInteractions": "true"}',
    '{"publishedAt": "2024-99-99T00:00:00Z", "updatedAt": "infinity", "preferences": []}',
    '{"publishedAt": "2024-02-30T00:00:00Z", "updatedAt": "0000-00-00T00:00:00Z", "policies": null}',
    '{"lexicon": 1.5, "durationMinutes": -0.0, "site": {"$link": 1}, "defs": 3, "messageMe": [1, 2]}',
]


async def test_views_never_fail_on_strangers_values(table: asyncpg.Connection) -> None:
    await table.execute("INSERT INTO repo (did) VALUES ($1)", DID)
    views = [row["viewname"] for row in await table.fetch("SELECT viewname FROM pg_views WHERE schemaname = 'public'")]
    partitions = await table.fetch(
        "SELECT substring(pg_get_expr(relpartbound, oid) FROM '''(.*)''') AS nsid"
        " FROM pg_class WHERE relispartition AND relkind = 'r'"
    )
    for row in partitions:
        for number, text in enumerate(HOSTILE):
            await insert(table, row["nsid"] or OTHER, str(number), text)
    assert len(views) == len(partitions) - 1
    for view in views:
        assert len(await table.fetch(f'SELECT * FROM "{view}"')) == len(HOSTILE)


async def test_views_have_proper_types(table: asyncpg.Connection) -> None:
    await table.execute("INSERT INTO repo (did) VALUES ($1)", DID)
    for collection, text in (
        ("app.bsky.actor.status", '{"status": "live", "durationMinutes": 30}'),
        ("app.bsky.feed.post", '{"text": "hi", "langs": ["en", "de"], "reply": {"root": {"uri": "at://r"}}}'),
        ("site.standard.document", '{"title": "t", "publishedAt": "2024-05-01T10:00:00.5+02:00"}'),
        ("app.bsky.actor.profile", '{"avatar": {"$type": "blob", "ref": {"$link": "bafk"}}, "banner": {"cid": "old"}}'),
    ):
        await insert(table, collection, "a", text)
    assert await table.fetchval("SELECT duration_minutes FROM status") == 30
    post = await table.fetchrow("SELECT uri, text, langs, reply_root, reply_parent FROM post")
    assert tuple(post) == (f"at://{DID}/app.bsky.feed.post/a", "hi", ["en", "de"], "at://r", None)
    assert await table.fetchval("SELECT published_at FROM standard_document") == 1_714_550_400_500_000
    assert tuple(await table.fetchrow("SELECT avatar_cid, banner_cid FROM profile")) == ("bafk", "old")


async def test_old_tombstones_and_ended_jobs_are_forgotten(database_url: str, table: asyncpg.Connection) -> None:
    await write_events(table, [commit(1, delete=((OTHER, "old"), (OTHER, "new")))])
    await table.execute("UPDATE tombstone SET deleted_at = now() - interval '8 days' WHERE rkey = 'old'")
    now = now_us()
    for days, state in ((100, "done"), (100, "indexing"), (80, "done")):
        at_us = now - days * DAY_US
        await table.execute(
            "INSERT INTO backfill_job (job_id, did, attempt, state, updated_at) VALUES ($1, $2, 1, $3, $4)",
            new_job_id(at_us),
            DID,
            state,
            at_us,
        )
    database = Database(database_url, "retention")
    assert await forget_old(database, tombstone_days=7, job_days=90) == 2
    await database.close()
    assert [row["rkey"] for row in await table.fetch("SELECT rkey FROM tombstone")] == ["new"]
    left = await table.fetch("SELECT state FROM backfill_job ORDER BY updated_at")
    assert [row["state"] for row in left] == ["indexing", "done"]


async def test_tombstones_of_a_repo_that_is_being_imported_stay(database_url: str, table: asyncpg.Connection) -> None:
    await write_events(table, [commit(1, delete=((OTHER, "old"),))])
    await table.execute("UPDATE tombstone SET deleted_at = now() - interval '8 days'")
    await table.execute("UPDATE repo SET snapshot_job = 'job'")
    database = Database(database_url, "retention")
    assert await forget_old(database, tombstone_days=7, job_days=90) == 0
    await database.close()
