"""How the indexer's statements find their rows, whatever Postgres knows of its tables."""

from __future__ import annotations

import re
from itertools import takewhile

import asyncpg
import pytest

from indexer.database import connect
from indexer.statements import SQL

# What sets or makes something has no plan.
_HAS_PLAN = re.compile(r"^(SELECT|WITH|INSERT|UPDATE|DELETE)\b", re.MULTILINE)
_PARAMETER = re.compile(r"\$(\d+)")
_STAGED = "staged"
"""A writer's own rows of the moment, of which every one is wanted."""
_NODE = re.compile(r"\s*->")
_SCAN = re.compile(r"Seq Scan on (\S+)|Index (?:Only )?Scan using (\S+)")
_OF_FEW_ROWS = {"repo_resync_at", "repo_purging", "repo_purging_collections", _STAGED}
"""Indexes of those repos alone of which something is to be done, and what may be read to its end beside them."""

_FIRST_DAY = """
INSERT INTO repo (did, resync_at, purging) SELECT 'did:web:' || n, now(), true FROM generate_series(1, 9) AS n
ON CONFLICT DO NOTHING;
INSERT INTO record (did, collection, rkey, cid, rev, created_at, record)
SELECT 'did:web:' || n, 'app.bsky.feed.post', 'a', 'c', 'r', now(), '{}' FROM generate_series(1, 9) AS n
ON CONFLICT DO NOTHING;
INSERT INTO tombstone (did, collection, rkey, rev)
SELECT 'did:web:' || n, 'app.bsky.feed.post', 'b', 'r' FROM generate_series(1, 9) AS n ON CONFLICT DO NOTHING;
INSERT INTO backfill_job (job_id, did, attempt, state)
SELECT n, 'did:web:' || n, 1, 'done' FROM generate_series(1, 9) AS n ON CONFLICT DO NOTHING;
INSERT INTO snapshot_batch (job_id, attempt, batch, collection, rkey)
SELECT n, 1, 0, '{}', '{}' FROM generate_series(1, 9) AS n ON CONFLICT DO NOTHING;
"""

_KNOWN = {"bump_rows", "delete_rows", "unconfirmed_repos", "purge_tombstones"}
"""Statements that still begin with all of a table that has a page or none: the first three with records, to be looked
for in a list of a few keys. The last one is run so rarely that it is planned anew each time."""


@pytest.mark.parametrize("writes", [True, False], ids=["writer", "reader"])
async def test_no_plan_reads_a_whole_table(migrated_url: str, *, writes: bool) -> None:
    """Also not a plan of the first day, when the tables are one page each: it is kept, and they grow."""
    connection = await connect(migrated_url, "plans", writes=writes)
    planned, scanned = 0, {}
    try:
        await connection.execute(_FIRST_DAY)
        await connection.execute("ANALYZE")
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        for name, statement in SQL.items():
            if not _HAS_PLAN.search(statement) or (_STAGED in statement and not writes):
                continue
            planned += 1
            if read := _read_to_the_end(await _plan(connection, statement)) - _OF_FEW_ROWS:
                scanned[name] = read
    finally:
        await connection.close()
    assert planned > 40
    assert scanned.keys() == _KNOWN


async def _plan(connection: asyncpg.Connection, statement: str) -> list[str]:
    """The plan that is kept for a statement. What ``EXPLAIN (GENERIC_PLAN)`` says of one that is given parameters, as
    this driver does, is the plan for these."""
    await connection.execute(f"PREPARE planned AS {statement}")
    count = max((int(number) for number in _PARAMETER.findall(statement)), default=0)
    parameters = f"({', '.join(['NULL'] * count)})" if count else ""
    rows = await connection.fetch(f"EXPLAIN EXECUTE planned{parameters}")
    await connection.execute("DEALLOCATE planned")
    return [row[0] for row in rows]


def _read_to_the_end(plan: list[str]) -> set[str]:
    """The tables and indexes of which a plan reads all."""
    read = set()
    for number, line in enumerate(plan):
        if found := _SCAN.search(line):
            below = takewhile(lambda other: not _NODE.match(other), plan[number + 1 :])
            if not any("Index Cond" in other for other in below):
                read.add(found[1] or found[2])
    return read
