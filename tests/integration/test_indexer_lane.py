"""A lane on a real NATS: what it tells of each group of messages, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import nats

from headwater.bus.messages import BackfillMessage, decode_backfill, encode
from headwater.bus.streams import STREAM_BACKFILL, apply_topology, backfill_consumer
from headwater.bus.subjects import backfill_subject, partition
from headwater.cancelling import cancel_and_wait
from headwater.health import Readiness
from indexer.database import Database
from indexer.dead_letters import DeadLetters
from indexer.lane import Delivery, Lane, LaneConfig
from indexer.ownership import Ownership
from indexer_rig import DID, LIKE, batch, until


async def test_each_group_has_its_rest_before_the_next_begins(nats_url: str, database_url: str) -> None:
    told: list[str] = []

    async def write(deliveries: Sequence[Delivery[BackfillMessage]]) -> Sequence[float | None]:
        told.append("written")
        return [None] * len(deliveries)

    async def rest() -> None:
        told.append("rest")

    config = LaneConfig(
        name="test",
        stream=STREAM_BACKFILL,
        consumer=backfill_consumer,
        decode=decode_backfill,
        weigh=lambda _: 1,
        write=write,
        group_rows=1,
        held_bytes=1_000_000,
        begun=lambda: told.append("begun"),
        rest=rest,
    )
    async with await nats.connect(nats_url) as client:
        js = client.jetstream()
        await apply_topology(js)
        for number in range(3):
            await js.publish(backfill_subject(DID), encode(batch(1, {(LIKE, "a"): number}, index=number)))
        database = Database(database_url, "test", writes=False)
        ownership = Ownership(database, (partition(DID),), Readiness("partitions"))
        lane = Lane(config, client, ownership, DeadLetters(js))
        running = [asyncio.create_task(work) for work in (ownership.run(), lane.run())]
        try:
            await until(lambda: _told(told, 9))
        finally:
            await cancel_and_wait(running)
            await database.close()
    assert told == ["begun", "written", "rest"] * 3


async def _told(told: list[str], count: int) -> bool:
    return len(told) >= count
