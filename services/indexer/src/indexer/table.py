"""Rows into ``record``: the ways of writing, and deletes. All inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import asyncpg

from indexer.batch import COLUMNS, KeyAt, Row
from indexer.statements import SQL


async def copy_rows(connection: asyncpg.Connection, rows: Iterable[Row]) -> None:
    """COPY straight into the table, for repos that nobody has written to.

    Raises UniqueViolationError if somebody has.
    """
    await connection.copy_records_to_table("record", records=rows, columns=COLUMNS)


async def merge_rows(connection: asyncpg.Connection, rows: Iterable[Row]) -> None:
    """COPY to the side, then into the table where a row's rev is the highest of its key. A key comes once at most."""
    await connection.copy_records_to_table("staged", records=rows, columns=COLUMNS)
    await connection.execute(SQL["merge_staged"])


async def stored_keys(
    connection: asyncpg.Connection, did: str, collection: str, first: str, last: str
) -> dict[str, tuple[str, str]]:
    """What the table holds of a stretch of one collection of a repo: CID and rev by rkey."""
    found = await connection.fetch(SQL["stored_keys"], did, collection, first, last)
    return {rkey: (cid, rev) for rkey, cid, rev in found}


async def bump_rows(connection: asyncpg.Connection, keys: Sequence[KeyAt]) -> None:
    """Give rows the rev of the snapshot that has confirmed them."""
    if keys:
        await connection.execute(SQL["bump_rows"], *map(list, zip(*keys, strict=True)))


async def delete_rows(connection: asyncpg.Connection, keys: Sequence[KeyAt]) -> None:
    """Delete what is older than each key's rev, and leave tombstones. A key comes once at most."""
    if keys:
        await connection.execute(SQL["delete_rows"], *map(list, zip(*keys, strict=True)))
