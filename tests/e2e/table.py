"""What is in Postgres, read as a person with psql would."""

from __future__ import annotations

import json
import reprlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from e2e.running_stack import RunningStack

RecordRows = dict[tuple[str, str], tuple[str, Any]]

_ROWS = "SELECT collection, rkey, cid, record::text FROM record WHERE did = $1"
_OTHERS = """
SELECT count(*) AS number, md5(string_agg(md5(r::text), '' ORDER BY did, collection, rkey)) AS digest
FROM record AS r
WHERE did <> ALL ($1::text[])
"""


@asynccontextmanager
async def open_database(stack: RunningStack) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the stack's Postgres."""
    connection = await asyncpg.connect(stack.database_url)
    try:
        yield connection
    finally:
        await connection.close()


async def rows_of(database: asyncpg.Connection, did: str) -> RecordRows:
    """Every record of an account: (collection, rkey) -> (CID, JSON value)."""
    found = await database.fetch(_ROWS, did)
    return {(row["collection"], row["rkey"]): (row["cid"], json.loads(row["record"])) for row in found}


async def cids_of(database: asyncpg.Connection, did: str) -> dict[tuple[str, str], str]:
    """Every record of an account: (collection, rkey) -> CID."""
    found = await database.fetch("SELECT collection, rkey, cid FROM record WHERE did = $1", did)
    return {(row["collection"], row["rkey"]): row["cid"] for row in found}


async def checksum_of_others(database: asyncpg.Connection, *dids: str) -> tuple[int, str | None]:
    """Number and digest of all rows, whole rows, of all accounts but these."""
    found = await database.fetchrow(_OTHERS, list(dids))
    assert found is not None
    return found["number"], found["digest"]


async def last_backfill(database: asyncpg.Connection, did: str) -> int:
    """When an account's data was last brought, in microseconds since 1970; 0 for never."""
    found = await database.fetchval("SELECT last_backfill_at FROM repo WHERE did = $1", did)
    return 0 if found is None else int(found.timestamp() * 1_000_000)


def assert_same(found: Mapping[tuple[str, str], Any], expected: Mapping[tuple[str, str], Any]) -> None:
    """Both hold the same keys and values; says in a few lines where not."""
    missing = sorted(expected.keys() - found.keys())
    surplus = sorted(found.keys() - expected.keys())
    assert not missing, f"{len(missing)} rows are missing: {missing[:5]}"
    assert not surplus, f"{len(surplus)} rows should not be there: {surplus[:5]}"
    different = [key for key, value in expected.items() if found[key] != value]
    shown = [(key, reprlib.repr(found[key]), reprlib.repr(expected[key])) for key in different[:3]]
    assert not different, f"{len(different)} rows differ: {shown}"
