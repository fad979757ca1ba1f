"""A lane on a real NATS: what it tells of each group of messages, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import nats
from nats.js import JetStreamContext

from headwater.bus.messages import BackfillMessage, decode_backfill, encode
from headwater.bus.streams import STREAM_BACKFILL, apply_topology, backfill_consumer
from headwater.bus.subjects import backfill_subject, partition
from headwater.cancelling import cancel_and_wait
from headwater.errors import TransientError
from headwater.health import Readiness
from indexer.database import Database
from indexer.dead_letters import DeadLetters
from indexer.lane import Delivery, Lane, LaneConfig, Written
from indexer.ownership import Ownership
from indexer_rig import DID, LIKE, batch
from waiting import until


async def test_each_group_has_its_rest_before_the_next_begins(nats_url: str, database_url: str) -> None:
    told: list[str] = []

    async def write(deliveries: Sequence[Delivery[BackfillMessage]]) -> Written:
        told.append("written")
        return Written([None] * len(deliveries))

    async def rest() -> None:
        told.append("rest")

    config = replace(_config(write), begun=lambda: told.append("begun"), rest=rest)
    async with _running(config, nats_url, database_url, messages=3):
        await until(lambda: _told(told, 9))
    assert told == ["begun", "written", "rest"] * 3


async def test_a_group_has_as_many_rows_as_the_lane_gives_way_for(nats_url: str, database_url: str) -> None:
    groups: list[int] = []
    all_delivered = asyncio.Event()

    async def write(deliveries: Sequence[Delivery[BackfillMessage]]) -> Written:
        await all_delivered.wait()
        groups.append(len(deliveries))
        return Written([None] * len(deliveries))

    config = replace(_config(write), group_rows=100, most_rows=lambda most: most // 50)
    async with _running(config, nats_url, database_url, messages=5) as js:
        await until(lambda: _are_delivered(js, 5))
        all_delivered.set()
        await until(lambda: _has_left(js, 0))
    assert sum(groups) == 5
    assert max(groups) <= 2


async def test_a_message_is_acknowledged_when_it_is_on_disk_and_the_next_does_not_wait(
    nats_url: str, database_url: str
) -> None:
    written: list[str] = []
    on_disk = asyncio.Event()

    async def write(deliveries: Sequence[Delivery[BackfillMessage]]) -> Written:
        written.append("group")
        return Written([None] * len(deliveries), _sure)

    async def _sure() -> None:
        await on_disk.wait()

    async with _running(_config(write), nats_url, database_url, messages=3) as js:
        await until(lambda: _told(written, 3))
        assert await _left(js) == 3
        on_disk.set()
        await until(lambda: _has_left(js, 0))
    assert written == ["group"] * 3


async def test_what_may_be_lost_comes_again_and_is_written_again(nats_url: str, database_url: str) -> None:
    written: list[int] = []
    asked: list[bool] = []

    async def write(deliveries: Sequence[Delivery[BackfillMessage]]) -> Written:
        written.extend(delivery.count for delivery in deliveries)
        return Written([None] * len(deliveries), _sure)

    async def _sure() -> None:
        asked.append(True)
        if len(asked) == 1:
            raise TransientError("the server was away", retry_after=0.1)

    async with _running(_config(write), nats_url, database_url, messages=1) as js:
        await until(lambda: _has_left(js, 0))
    assert written == [1, 2]
    assert len(asked) == 2


def _config(write: Callable[[Sequence[Delivery[BackfillMessage]]], Awaitable[Written]]) -> LaneConfig[BackfillMessage]:
    """A lane that writes one message at a time."""
    return LaneConfig(
        name="test",
        stream=STREAM_BACKFILL,
        consumer=backfill_consumer,
        decode=decode_backfill,
        weigh=lambda _: 1,
        write=write,
        group_rows=1,
        held_bytes=1_000_000,
    )


@asynccontextmanager
async def _running(
    config: LaneConfig[BackfillMessage], nats_url: str, database_url: str, messages: int
) -> AsyncIterator[JetStreamContext]:
    """The lane at work on some messages."""
    async with await nats.connect(nats_url) as client:
        js = client.jetstream()
        await apply_topology(js)
        for number in range(messages):
            await js.publish(backfill_subject(DID), encode(batch(1, {(LIKE, "a"): number}, index=number)))
        database = Database(database_url, "test", writes=False)
        ownership = Ownership(database, (partition(DID),), Readiness("partitions"))
        lane = Lane(config, client, ownership, DeadLetters(js))
        running = [asyncio.create_task(work) for work in (ownership.run(), lane.run())]
        try:
            yield js
        finally:
            await cancel_and_wait(running)
            await database.close()


async def _left(js: JetStreamContext) -> int:
    return (await js.stream_info(STREAM_BACKFILL)).state.messages


async def _are_delivered(js: JetStreamContext, count: int) -> bool:
    info = await js.consumer_info(STREAM_BACKFILL, backfill_consumer(partition(DID)))
    return info.num_ack_pending == count


async def _has_left(js: JetStreamContext, count: int) -> bool:
    return await _left(js) == count


async def _told(told: Sequence[object], count: int) -> bool:
    return len(told) >= count
