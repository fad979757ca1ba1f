"""How the indexer's statements find their rows, whatever Postgres knows of its tables."""

from __future__ import annotations

import re

import pytest

from indexer.database import connect
from indexer.statements import SQL

# What sets or makes something has no plan.
_HAS_PLAN = re.compile(r"^(SELECT|WITH|INSERT|UPDATE|DELETE)\b", re.MULTILINE)
_SCANNED = re.compile(r"Seq Scan on (\S+)")
_STAGED = "staged"
"""A writer's own rows of the moment, of which every one is wanted."""

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


@pytest.mark.parametrize("writes", [True, False], ids=["writer", "reader"])
async def test_no_plan_reads_a_whole_table(migrated_url: str, *, writes: bool) -> None:
    """Also not a plan of the first day, when the tables are one page each: it is kept, and they grow."""
    connection = await connect(migrated_url, "plans", writes=writes)
    planned, scanned = 0, {}
    try:
        await connection.execute(_FIRST_DAY)
        await connection.execute("ANALYZE")
        for name, statement in SQL.items():
            if not _HAS_PLAN.search(statement) or (_STAGED in statement and not writes):
                continue
            explained = await connection.prepare(f"EXPLAIN (GENERIC_PLAN) {statement}")
            rows = await explained.fetch(*(None for _ in explained.get_parameters()))
            plan = "\n".join(row[0] for row in rows)
            tables = set(_SCANNED.findall(plan)) - {_STAGED}
            planned += 1
            if tables:
                scanned[name] = tables
    finally:
        await connection.close()
    assert planned > 40
    assert scanned == {}
