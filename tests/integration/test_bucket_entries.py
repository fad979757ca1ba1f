"""Reading many entries of a bucket at once, on a real NATS server."""

from __future__ import annotations

import asyncio

import nats
from nats.js.api import KeyValueConfig, StorageType

from headwater.bus.buckets import entries
from waiting import until


async def test_a_read_finds_what_matches_and_leaves_nothing_behind(nats_url: str) -> None:
    connection = await nats.connect(nats_url)
    try:
        jetstream = connection.jetstream()
        bucket = await jetstream.create_key_value(KeyValueConfig("read", storage=StorageType.MEMORY))
        for key in ("a.1.x", "a.2.x", "b.1.x", "b.1.y"):
            await bucket.put(key, key.encode())
        await bucket.delete("a.2.x")
        for _ in range(20):
            assert await entries(bucket, "*.1.x") == [("a.1.x", b"a.1.x"), ("b.1.x", b"b.1.x")]
        assert len(await entries(bucket, ">")) == 3
        assert await entries(bucket, "c.>") == []
        read = await asyncio.gather(*(entries(bucket, ">") for _ in range(200)))
        assert {len(found) for found in read} == {3}

        async def no_consumer_is_left() -> bool:
            return not (await jetstream.stream_info("KV_read")).state.consumer_count

        await until(no_consumer_is_left)
    finally:
        await connection.close()
