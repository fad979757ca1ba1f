"""Reading the values of many keys of a bucket for one question, on a real NATS server."""

from __future__ import annotations

import asyncio

import nats
import nats.errors
import pytest
from nats.js.api import KeyValueConfig, StorageType

from headwater.bus.last_values import last_values


async def test_what_is_there_is_found_and_nothing_else(nats_url: str) -> None:
    connection = await nats.connect(nats_url)
    try:
        jetstream = connection.jetstream()
        config = KeyValueConfig("read", storage=StorageType.MEMORY, direct=True)
        bucket = await jetstream.create_key_value(config)
        wanted = [f"a.{number}" for number in range(1_100)]
        await asyncio.gather(*(bucket.put(key, key.encode()) for key in wanted))
        await bucket.put("a.1", b"newer")
        await bucket.put("a.3", b"")
        await bucket.delete("a.2")
        found = await last_values(bucket, ["a.0", "a.1", "a.2", "a.3", "b.0"])
        assert found == {"a.0": b"a.0", "a.1": b"newer", "a.3": b""}
        assert await last_values(bucket, ["b.0"]) == {}
        assert await last_values(bucket, []) == {}
        assert set(await last_values(bucket, wanted)) == set(wanted) - {"a.2"}, "more than go into one question"
        assert connection.stats["errors_received"] == 0
    finally:
        await connection.close()


async def test_a_bucket_that_allows_no_direct_gets_is_an_error(nats_url: str) -> None:
    connection = await nats.connect(nats_url)
    try:
        bucket = await connection.jetstream().create_key_value(KeyValueConfig("kept", storage=StorageType.MEMORY))
        with pytest.raises(nats.errors.Error):
            await last_values(bucket, ["a"])
    finally:
        await connection.close()
