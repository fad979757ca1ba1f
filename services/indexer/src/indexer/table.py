"""Rows into ``record``: the ways of writing, and deletes. All inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice

import asyncpg

from indexer.batch import COLUMNS, KeyAt, Row
from indexer.statements import SQL

FEW_ROWS = 250


async def copy_rows(connection: asyncpg.Connection, rows: Iterable[Row]) -> None:
    """COPY straight into the table, for repos that nobody has written to.

    Raises UniqueViolationError if somebody has.
    """
    await connection.copy_records_to_table("record", records=rows, columns=COLUMNS)


async def merge_rows(connection: asyncpg.Connection, rows: Iterable[Row]) -> None:
    """Rows into the table where a row's rev is the highest of its key. A key comes once at most.

    A few are sent with the statement. Many are sent by COPY to the side first: that makes each row cheaper, but each
    transaction dearer, since the side has to be emptied at its commit.
    """
    left = iter(rows)
    first = list(islice(left, FEW_ROWS + 1))
    if len(first) > FEW_ROWS:
        await connection.copy_records_to_table("staged", records=chain(first, left), columns=COLUMNS)
        await connection.execute(SQL["merge_staged"])
    elif first:
        await connection.execute(SQL["merge_few"], *map(list, zip(*first, strict=True)))


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
