"""Being sure of what was committed without waiting for the disk, on a real Postgres."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from headwater.errors import TransientError
from indexer.database import Database
from indexer.wal import COMMITS_AT_ONCE, FLUSHES, Wal
from indexer_rig import until

_NAME = "test wal"


async def test_a_transaction_is_on_disk_when_its_witness_says_so(database_url: str) -> None:
    writer, flusher = (
        Database(database_url, "test", session=COMMITS_AT_ONCE),
        Database(database_url, _NAME, session=FLUSHES),
    )
    wal = Wal(flusher)
    try:
        connection = await writer.connection()
        await connection.execute("CREATE TABLE written (number int)")
        for number in range(20):
            sure = await wal.witness()
            await connection.execute("INSERT INTO written SELECT $1 FROM generate_series(1, 1000)", number)
            end = await connection.fetchval("SELECT pg_current_wal_insert_lsn()::text")
            await sure()
            assert await connection.fetchval("SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn", end), number
    finally:
        await writer.close()
        await flusher.close()


async def test_a_witness_that_was_lost_is_not_replaced_by_a_new_one(database_url: str) -> None:
    flusher, other = Database(database_url, _NAME, session=FLUSHES), Database(database_url, "test")
    wal = Wal(flusher)
    try:
        before = await wal.witness()
        await before()
        assert await wal.witness() is before, "groups that one saw begin are flushed together"
        # As in a crash of the server, after which it answers again.
        lost = await flusher.connection()
        await (await other.connection()).execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", _NAME
        )
        await until(lambda: _is_closed(lost))
        after = await wal.witness()
        await after()
        with pytest.raises(TransientError):
            await before()
    finally:
        await flusher.close()
        await other.close()


async def test_a_flush_that_fails_vouches_for_nothing(database_url: str) -> None:
    flusher, other = Database(database_url, _NAME, session=FLUSHES), Database(database_url, "test")
    wal = Wal(flusher)
    try:
        sure = await wal.witness()
        await (await other.connection()).execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", _NAME
        )
        with pytest.raises(TransientError):
            await sure()
    finally:
        await flusher.close()
        await other.close()


async def test_lanes_share_a_witness_without_meeting_on_its_connection(database_url: str) -> None:
    flusher = Database(database_url, _NAME, session=FLUSHES)
    wal = Wal(flusher)
    try:
        witnesses = await asyncio.gather(*(wal.witness() for _ in range(4)))
        await asyncio.gather(*(sure() for sure in witnesses))
    finally:
        await flusher.close()


async def _is_closed(connection: asyncpg.Connection) -> bool:
    return connection.is_closed()
