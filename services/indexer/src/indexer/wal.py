"""Commits that do not wait for the disk, and being sure of them before their messages are acknowledged.

The firehose's lanes commit with ``synchronous_commit`` off
(https://www.postgresql.org/docs/current/wal-async-commit.html): rows are visible at once, and the next group does not
wait behind a flush, which beside an import takes as long as what the import has logged, and behind a new log file that
is being filled with zeros. A message is acknowledged when the log is on disk as far as that. A server that crashes
before loses rows, and their messages come again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import asyncpg

from headwater.errors import TransientError
from indexer.database import Database, translated
from indexer.statements import SQL

Sure = Callable[[], Awaitable[None]]
"""Awaited after a transaction: it is on disk then. Raises TransientError when that cannot be known: write it again."""

COMMITS_AT_ONCE: Final = {"synchronous_commit": "off"}
"""The session of a writer that asks for a witness."""
FLUSHES: Final = {"synchronous_commit": "on"}
"""The session of ``Wal``."""


async def nothing_to_flush() -> None:
    """For what is on disk already."""


class Wal:
    """The server's log, by a connection of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = asyncio.Lock()
        self._connection: asyncpg.Connection | None = None
        self._sure: Sure = nothing_to_flush

    async def witness(self) -> Sure:
        """To be asked for before the transaction begins. Raises TransientError when Postgres is away.

        A crash ends every connection. So one that was there before the transaction, and still is, has seen none.
        """
        if self._connection is None or self._connection.is_closed():
            async with self._lock:
                self._connection = await self._database.connection()
            self._sure = partial(self._flush, self._connection)
        return self._sure

    async def _flush(self, connection: asyncpg.Connection) -> None:
        async with self._lock:
            if connection.is_closed():
                raise TransientError("Postgres: the connection that saw the transaction begin is lost")
            with translated():
                await connection.execute(SQL["flush_log"])
