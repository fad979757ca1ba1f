"""What a table knows of the repos in which it differs from the network, so that a failure can be understood."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import asyncpg

from oracle import Expected, differences

_KEYS = """
SELECT k.collection, k.rkey, r.rev AS row_rev, r.cid, r.created_at, r.indexed_at, t.rev AS tombstone_rev, t.deleted_at
FROM unnest($2::text[], $3::text[]) AS k (collection, rkey)
LEFT JOIN record AS r ON r.did = $1 AND r.collection = k.collection AND r.rkey = k.rkey
LEFT JOIN tombstone AS t ON t.did = $1 AND t.collection = k.collection AND t.rkey = k.rkey
"""
_UNSETTLED = """
SELECT did || ' is desynchronized: ' || desync_reason FROM repo
WHERE sync_state = 'desynchronized' AND status = 'active'
UNION ALL SELECT did || ' is still being purged' FROM repo WHERE purging
UNION ALL SELECT did || ' has deferred commits' FROM (SELECT DISTINCT did FROM deferred_commit) AS d
UNION ALL SELECT b.job_id || ' has left batches' FROM (SELECT DISTINCT job_id FROM snapshot_batch) AS b
"""
_REPOS_TOLD = 3
_KEYS_TOLD = 4
_BETWEEN_LOOKS_S = 0.5


async def until_settled(
    database_url: str, expected: Callable[[], Expected], told: Mapping[str, Sequence[str]], seconds: float
) -> None:
    """Wait until the table is what the network is and every repo is in step; after ``seconds`` say what is not.

    ``told``: what became of each account, a line each.
    """
    deadline = time.monotonic() + seconds
    database = await _connected(database_url, deadline)
    try:
        while True:
            wrong = await differences(database, expected())
            wrong += [row[0] for row in await database.fetch(_UNSETTLED)]
            if not wrong:
                return
            if time.monotonic() > deadline:
                raise AssertionError("\n".join([*wrong[:20], *await _explained(database, expected(), told, wrong)]))
            await asyncio.sleep(_BETWEEN_LOOKS_S)
    finally:
        await database.close()


async def _connected(database_url: str, deadline: float) -> asyncpg.Connection:
    """A connection to a server that may still be recovering."""
    while True:
        try:
            return await asyncpg.connect(database_url)
        except (OSError, asyncpg.CannotConnectNowError):
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(_BETWEEN_LOOKS_S)


async def _explained(
    database: asyncpg.Connection, expected: Expected, told: Mapping[str, Sequence[str]], wrong: Iterable[str]
) -> list[str]:
    dids = list(dict.fromkeys(line.split()[0] for line in wrong if line.split()[0] in expected))
    lines: list[str] = []
    for did in dids[:_REPOS_TOLD]:
        lines += ["", f"--- {did}"]
        lines += [_shown(row) for row in await database.fetch("SELECT * FROM repo WHERE did = $1", did)]
        jobs = "SELECT * FROM backfill_job WHERE did = $1 ORDER BY started_at"
        lines += [f"job {_shown(row)}" for row in await database.fetch(jobs, did)]
        keys = await _different_keys(database, expected, did)
        shown = await database.fetch(_KEYS, did, [key[0] for key in keys], [key[1] for key in keys])
        lines += [f"key {_shown(row)}" for row in shown]
        lines += [f"told {line}" for line in told.get(did, ()) if _concerns(line, keys)]
    return lines


async def _different_keys(database: asyncpg.Connection, expected: Expected, did: str) -> list[tuple[str, str]]:
    found = await database.fetch("SELECT collection, rkey, cid FROM record WHERE did = $1", did)
    cids = {(row["collection"], row["rkey"]): row["cid"] for row in found}
    repo = expected[did]
    wrong = (repo.due - cids.keys()) | (cids.keys() - repo.rows.keys())
    wrong |= {key for key in cids.keys() & repo.rows.keys() if cids[key] != repo.rows[key].cid}
    return sorted(wrong)[:_KEYS_TOLD]


def _concerns(line: str, keys: Sequence[tuple[str, str]]) -> bool:
    """Whether a line is of one of the keys, or of the account itself."""
    return "/" not in line or any(f"{collection}/{rkey}" in line for collection, rkey in keys)


def _shown(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in row.items() if value not in (None, False, "", [], 0))
