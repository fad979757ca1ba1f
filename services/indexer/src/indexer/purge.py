"""Deleting the rows of deleted accounts and of excluded collections, some at a time: there may be millions."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import asyncpg

from headwater.errors import TransientError
from indexer.database import Database, translated
from indexer.statements import SQL

log = logging.getLogger("indexer.purge")

ROWS_AT_ONCE: Final = 2_000
_STATEMENTS = ("purge_records", "purge_marks")
_SECONDS_BETWEEN = 1.0


async def purge_some(connection: asyncpg.Connection, rows: int = ROWS_AT_ONCE) -> bool:
    """One transaction's worth; False when no account's rows are left to go. Raises driver errors."""
    async with connection.transaction():
        account = await connection.fetchrow(SQL["lock_purging"])
        if account is None:
            return False
        if not await _delete(connection, account["did"], account["void_rev"], rows):
            await connection.execute(SQL["end_purge"], account["did"])
            log.info("the rows of %s are gone", account["did"])
    return True


async def purge_some_of_collection(connection: asyncpg.Connection, rows: int = ROWS_AT_ONCE) -> bool:
    """As ``purge_some``, for collections that their accounts have excluded."""
    async with connection.transaction():
        found = await connection.fetchrow(SQL["lock_purging_collection"])
        if found is None:
            return False
        did, collection = found["did"], found["collection"]
        if not await _execute(connection, ("purge_collection", "purge_collection_marks"), did, collection, rows):
            await connection.execute(SQL["end_purge_collection"], did, collection)
    return True


async def purge_rest(connection: asyncpg.Connection, did: str, void_rev: str) -> None:
    """All that is left of a locked repo, in the caller's transaction: a snapshot of the account anew is to come."""
    while await _delete(connection, did, void_rev, ROWS_AT_ONCE):
        pass


async def keep_purging(database: Database) -> None:
    """Delete what is to go, until cancelled."""
    while True:
        try:
            connection = await database.connection()
            with translated():
                more = any([await purge_some(connection), await purge_some_of_collection(connection)])
        except TransientError as error:
            log.warning("nothing purged: %s", error)
            more = False
        if not more:
            await asyncio.sleep(_SECONDS_BETWEEN)


async def _delete(connection: asyncpg.Connection, did: str, void_rev: str, rows: int) -> int:
    return await _execute(connection, _STATEMENTS, did, void_rev, rows)


async def _execute(connection: asyncpg.Connection, names: tuple[str, ...], did: str, what: str, rows: int) -> int:
    gone = 0
    for name in names:
        status = await connection.execute(SQL[name], did, what, rows)
        gone += int(status.rpartition(" ")[2])
    return gone
