"""Being sure of what was committed without waiting for the disk, on a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from headwater.errors import TransientError
from indexer.database import Database
from indexer.wal import COMMITS_AT_ONCE, FLUSHES, Wal
from waiting import until

_NAME = "test wal"


@pytest.fixture
async def flusher(database_url: str) -> AsyncIterator[Database]:
    """The database of a ``Wal``."""
    database = Database(database_url, _NAME, session=FLUSHES)
    yield database
    await database.close()


@pytest.fixture
async def table(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A writer's connection, whose commits wait for nothing."""
    database = Database(database_url, "test", session=COMMITS_AT_ONCE)
    yield await database.connection()
    await database.close()


async def test_a_transaction_is_on_disk_when_its_witness_says_so(flusher: Database, table: asyncpg.Connection) -> None:
    wal = Wal(flusher)
    await table.execute("CREATE TABLE written (number int)")
    for number in range(20):
        sure = await wal.witness()
        await table.execute("INSERT INTO written SELECT $1 FROM generate_series(1, 1000)", number)
        end = await table.fetchval("SELECT pg_current_wal_insert_lsn()::text")
        await sure()
        assert await table.fetchval("SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn", end), number


async def test_a_witness_that_was_lost_is_not_replaced_by_a_new_one(
    flusher: Database, table: asyncpg.Connection
) -> None:
    wal = Wal(flusher)
    before = await wal.witness()
    await before()
    assert await wal.witness() is before, "groups that one saw begin are flushed together"
    lost = await flusher.connection()
    await _end_flushers(table)
    await until(lambda: _is_closed(lost))
    after = await wal.witness()
    await after()
    with pytest.raises(TransientError):
        await before()


async def test_a_flush_that_fails_vouches_for_nothing(flusher: Database, table: asyncpg.Connection) -> None:
    sure = await Wal(flusher).witness()
    await _end_flushers(table)
    with pytest.raises(TransientError):
        await sure()


async def test_lanes_share_a_witness_without_meeting_on_its_connection(flusher: Database) -> None:
    wal = Wal(flusher)
    witnesses = await asyncio.gather(*(wal.witness() for _ in range(4)))
    await asyncio.gather(*(sure() for sure in witnesses))


async def _end_flushers(table: asyncpg.Connection) -> None:
    """As a crash of the server does, after which it answers again."""
    await table.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", _NAME)


async def _is_closed(connection: asyncpg.Connection) -> bool:
    return connection.is_closed()
