"""The same rows written without Headwater, into the same Postgres: by one COPY, and one INSERT at a time.

The table has the columns, types and primary key of ``record``, and neither partitions nor other indexes; or all that
``record`` has, which is what nothing that fills that table can surpass.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import asyncpg

from bench.errors import VoidRunError
from bench.postgres import COLUMNS, Row, settle

_MAKE = "CREATE TABLE yardstick (LIKE record INCLUDING DEFAULTS, PRIMARY KEY (did, collection, rkey))"
_MAKE_WHOLE = "CREATE TABLE yardstick (LIKE record INCLUDING ALL) PARTITION BY LIST (collection)"
_BOUNDS = """
SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'record'::regclass
"""
_INSERT = f"""
INSERT INTO yardstick ({", ".join(COLUMNS)}) VALUES ({", ".join(f"${i + 1}" for i in range(len(COLUMNS)))})
ON CONFLICT (did, collection, rkey) DO UPDATE SET
    cid = excluded.cid, rev = excluded.rev, created_at = excluded.created_at, subject = excluded.subject,
    record = excluded.record, raw = excluded.raw, indexed_at = now()
WHERE yardstick.rev < excluded.rev
"""


async def copy_rate(database: asyncpg.Connection, rows: Sequence[Row], *, whole: bool = False) -> float:
    """Rows a second of one COPY of ready tuples on one connection, its commit included.

    ``whole``: into a table with the partitions and indexes of ``record``.
    """
    await _fresh_table(database, whole=whole)
    began = time.perf_counter()
    await database.copy_records_to_table("yardstick", records=rows, columns=COLUMNS)
    return await _rate(database, len(rows), time.perf_counter() - began)


async def insert_rate(database: asyncpg.Connection, rows: Sequence[Row]) -> float:
    """Rows a second of one prepared INSERT ... ON CONFLICT after the other, each committed by itself."""
    await _fresh_table(database)
    insert = await database.prepare(_INSERT)
    began = time.perf_counter()
    for row in rows:
        await insert.fetch(*row)
    return await _rate(database, len(rows), time.perf_counter() - began)


async def _fresh_table(database: asyncpg.Connection, *, whole: bool = False) -> None:
    await database.execute("DROP TABLE IF EXISTS yardstick")
    await database.execute(_MAKE_WHOLE if whole else _MAKE)
    if whole:
        for number, (bound,) in enumerate(await database.fetch(_BOUNDS)):
            await database.execute(f"CREATE TABLE yardstick_{number} PARTITION OF yardstick {bound}")
    await settle(database)


async def _rate(database: asyncpg.Connection, rows: int, seconds: float) -> float:
    found = await database.fetchval("SELECT count(*) FROM yardstick")
    await database.execute("DROP TABLE yardstick")
    if found != rows:
        raise VoidRunError(f"the yardstick wrote {found} of {rows} rows")
    return rows / seconds
