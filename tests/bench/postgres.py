"""The stack's database: a known state before a run, the rows after it, and a table that is full already."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

Row = tuple[Any, ...]

COLUMNS = ("did", "collection", "rkey", "cid", "rev", "created_at", "subject", "record", "raw")

_COUNTS = "SELECT did, count(*) FROM record WHERE did = ANY ($1::text[]) GROUP BY did"
# A DID is "did:plc:" and 24 characters of base32.
_MULTIPLY = """
INSERT INTO record (did, collection, rkey, cid, rev, created_at, subject, record, raw)
SELECT 'did:plc:' || substr(translate(md5(did || n), '0189', 'wxyz'), 1, 24),
       collection, rkey, cid, rev, created_at, subject, record, raw
FROM held_source, generate_series($1::int, $2::int) AS n
"""
_THEIR_REPOS = """
INSERT INTO repo (did, status, rev, written, floor_rev, swept_rev)
SELECT did, 'active', max(rev), true, max(rev), max(rev) FROM record GROUP BY did
ON CONFLICT (did) DO NOTHING
"""


async def forget_everything(database: asyncpg.Connection) -> None:
    """As if nothing had ever been imported. Nothing may be under way."""
    await database.execute("TRUNCATE record, repo, tombstone, backfill_job, snapshot_batch, deferred_commit")


async def settle(database: asyncpg.Connection) -> None:
    """Write what is dirty to disk now, so that the next run does not do it for the one before."""
    await database.execute("CHECKPOINT")


async def record_counts(database: asyncpg.Connection, dids: list[str]) -> dict[str, int]:
    """Rows by DID."""
    found = await database.fetch(_COUNTS, dids)
    return {row["did"]: row["count"] for row in found}


async def rows_of(database: asyncpg.Connection, dids: list[str]) -> list[Row]:
    """The accounts' rows in order of the primary key, which is the order that a B-tree likes best."""
    found = await database.fetch(
        f"SELECT {', '.join(COLUMNS)} FROM record WHERE did = ANY ($1::text[]) ORDER BY did, collection, rkey", dids
    )
    return [tuple(row) for row in found]


async def fill(database_url: str, dids: list[str], rows: int) -> int:
    """Multiply the accounts' rows under other DIDs until there are ``rows``, and ANALYZE; how many there are.

    Two connections share the work.
    """
    database = await asyncpg.connect(database_url)
    try:
        await database.execute("CREATE TABLE held_source (LIKE record)")
        await database.execute("INSERT INTO held_source SELECT * FROM record WHERE did = ANY ($1::text[])", dids)
        copies = rows // max(1, await database.fetchval("SELECT count(*) FROM held_source")) - 1
        half = copies // 2
        await asyncio.gather(_multiply(database_url, 1, half), _multiply(database_url, half + 1, copies))
        await database.execute("DROP TABLE held_source")
        await database.execute(_THEIR_REPOS)
        # VACUUM, too: the stack's own autovacuum would otherwise begin in the middle of the runs.
        await database.execute("VACUUM (ANALYZE) record, repo")
        count: int = await database.fetchval("SELECT count(*) FROM record")
        return count
    finally:
        await database.close()


async def _multiply(database_url: str, first: int, last: int) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(_MULTIPLY, first, last)
    finally:
        await connection.close()
