"""Finding the rows that Postgres will not hold, so that their siblings can be written."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from headwater.bus.messages import Rows
from headwater.errors import InvalidInputError
from indexer.batch import Row, rows_of
from indexer.database import translated
from indexer.table import merge_rows


async def refused_rows(connection: asyncpg.Connection, did: str, rev: str, rows: Rows) -> dict[int, str]:
    """The indices of the rows that cannot be written, with what Postgres said. Nothing is written.

    Raises TransientError and InvariantError as every use of the database does.
    """
    found: dict[int, str] = {}
    await _search(connection, list(rows_of(did, rev, rows)), 0, found)
    return found


async def _search(connection: asyncpg.Connection, rows: Sequence[Row], first: int, found: dict[int, str]) -> None:
    error = await _refusal(connection, rows) if rows else None
    if error is None:
        return
    if len(rows) == 1:
        found[first] = error
        return
    half = len(rows) // 2
    await _search(connection, rows[:half], first, found)
    await _search(connection, rows[half:], first + half, found)


async def _refusal(connection: asyncpg.Connection, rows: Sequence[Row]) -> str | None:
    try:
        with translated():
            trial = connection.transaction()
            await trial.start()
            try:
                await merge_rows(connection, rows)
            finally:
                await trial.rollback()
    except InvalidInputError as error:
        return error.detail
    return None
