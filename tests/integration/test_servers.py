"""The fixtures keep what they promise: each test finds its servers empty."""

from __future__ import annotations

import asyncpg
import nats
import pytest


@pytest.mark.parametrize("_time", [1, 2])
async def test_every_test_gets_an_empty_database(database_url: str, _time: int) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        await connection.execute("CREATE TABLE left_over ()")
    finally:
        await connection.close()


@pytest.mark.parametrize("_time", [1, 2])
async def test_every_test_gets_an_empty_jetstream(nats_url: str, _time: int) -> None:
    connection = await nats.connect(nats_url)
    try:
        jetstream = connection.jetstream()
        assert await jetstream.streams_info() == []
        await jetstream.add_stream(name="LEFT_OVER", subjects=["left.over"])
    finally:
        await connection.close()
