"""Rows into ``record``: the ways of writing, and deletes. All inside the caller's transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import chain, islice

import asyncpg

from indexer.batch import COLUMNS, Fold, KeyAt, Row
from indexer.repos import encoded
from indexer.right_of_way import Pause, one_turn
from indexer.state import Repo
from indexer.statements import SQL, together

FEW_ROWS = 250
# Left alone, the driver encodes half a megabyte of rows at a stretch: milliseconds in which no live event goes on.
_ROWS_AT_A_STRETCH = 50
_DELETE = together(SQL, "delete_rows", "leave_tombstones")
_WRITE_FEW = together(SQL, "merge_few", "delete_rows", "leave_tombstones", "save_repos")


def are_few(rows: Sequence[Row]) -> bool:
    """Whether rows are better sent with a statement than by COPY."""
    return len(rows) <= FEW_ROWS


async def copy_rows(connection: asyncpg.Connection, rows: Iterable[Row], pause: Pause = one_turn) -> None:
    """COPY straight into the table, for repos that nobody has written to.

    Raises UniqueViolationError if somebody has.
    """
    await connection.copy_records_to_table("record", records=_in_turns(rows, pause), columns=COLUMNS)


async def merge_rows(connection: asyncpg.Connection, rows: Iterable[Row], pause: Pause = one_turn) -> None:
    """Rows into the table where a row's rev is the highest of its key. A key comes once at most.

    A few are sent with the statement. Many are sent by COPY to the side first: that makes each row cheaper, but each
    transaction dearer, since the side has to be emptied at its commit.
    """
    left = iter(rows)
    first = list(islice(left, FEW_ROWS + 1))
    if len(first) > FEW_ROWS:
        await connection.copy_records_to_table("staged", records=_in_turns(chain(first, left), pause), columns=COLUMNS)
        await connection.execute(SQL["merge_staged"])
    elif first:
        await connection.execute(SQL["merge_few"], *_columns(first, COLUMNS))


async def stored_keys(
    connection: asyncpg.Connection, did: str, collection: str, first: str, last: str
) -> dict[str, tuple[str, str]]:
    """What the table holds of a stretch of one collection of a repo: CID and rev by rkey."""
    found = await connection.fetch(SQL["stored_keys"], did, collection, first, last)
    return {rkey: (cid, rev) for rkey, cid, rev in found}


async def bump_rows(connection: asyncpg.Connection, keys: Sequence[KeyAt]) -> None:
    """Give rows the rev of the snapshot that has confirmed them."""
    if keys:
        await connection.execute(SQL["bump_rows"], *_columns(keys, KeyAt._fields))


async def delete_rows(connection: asyncpg.Connection, keys: Sequence[KeyAt]) -> None:
    """Delete what is older than each key's rev, and leave tombstones. A key comes once at most."""
    if keys:
        columns = _columns(keys, KeyAt._fields)
        await connection.execute(_DELETE, *columns, *columns)


async def write_few(connection: asyncpg.Connection, folded: Fold, repos: Iterable[Repo]) -> None:
    """A few rows (``are_few``) as ``merge_rows`` does, deletes as ``delete_rows``, repos as ``save_repos``: at once.

    It is how most live transactions end, and each round trip less is latency and a place less to wait at.
    """
    deletes = _columns(folded.deletes, KeyAt._fields)
    await connection.execute(_WRITE_FEW, *_columns(folded.puts, COLUMNS), *deletes, *deletes, encoded(repos))


def _columns(rows: Sequence[Row], names: Sequence[str]) -> list[list[object]]:
    """Rows as columns, also when there are none."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in names]


async def _in_turns(rows: Iterable[Row], pause: Pause) -> AsyncIterator[Row]:
    """The rows, with a pause between some and the next."""
    for number, row in enumerate(rows, start=1):
        yield row
        if number % _ROWS_AT_A_STRETCH == 0:
            await pause()
