"""A rig for tests of firehose-backfill: the service in this process, and what it brings onto the bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.client import Client
from nats.js import JetStreamContext

from bus_client import bus_client
from firehose_backfill.app import worker
from firehose_backfill.cursor import Cursor, CursorKey
from firehose_backfill.cursor_store import CursorStore
from firehose_backfill.live import LiveTail
from firehose_backfill.settings import FirehoseSettings
from headwater.bus.buckets import entries
from headwater.bus.firehose import Gap
from headwater.bus.messages import LiveCommit, LiveEvent, decode_live
from headwater.bus.streams import BUCKET_CURSORS, BUCKET_FIREHOSE, STREAM_LIVE, apply_topology
from headwater.health import Readiness
from headwater.service import Tasks
from waiting import until


class Bus:
    """The live lane as it lies in the stream, and what is beside it."""

    def __init__(self, url: str, client: Client, js: JetStreamContext) -> None:
        self.url = url
        self.client = client
        self.js = js

    async def events(self) -> list[LiveEvent]:
        """Every event in the stream, in its order."""
        state = (await self.js.stream_info(STREAM_LIVE)).state
        found: list[LiveEvent] = []
        for seq in range(max(state.first_seq, 1), state.last_seq + 1):
            found += decode_live((await self.js.get_msg(STREAM_LIVE, seq)).data or b"").events
        return found

    async def until(self, holds: Callable[[list[LiveEvent]], bool], seconds: float = 60) -> list[LiveEvent]:
        """Poll until the events are as wanted."""
        for _ in range(int(seconds / 0.1)):
            found = await self.events()
            if holds(found):
                return found
            await asyncio.sleep(0.1)
        raise AssertionError(f"the events are {[(type(e).__name__, e.did, e.seq) for e in found]}")

    async def cursors(self) -> dict[CursorKey, Cursor]:
        return await CursorStore(await self.js.key_value(BUCKET_CURSORS)).all()

    async def gaps(self) -> list[Gap]:
        bucket = await self.js.key_value(BUCKET_FIREHOSE)
        return [Gap.model_validate_json(value) for _, value in await entries(bucket, "gap.*")]


@asynccontextmanager
async def bus(url: str) -> AsyncIterator[Bus]:
    async with bus_client(url) as client:
        js = client.jetstream(timeout=60)
        await apply_topology(js)
        yield Bus(url, client, js)


async def resize_live_stream(there: Bus, max_bytes: int) -> None:
    """Let the live lane take so much, and refuse what does not fit."""
    config = (await there.js.stream_info(STREAM_LIVE)).config
    config.max_bytes = max_bytes
    await there.js.update_stream(config)


def settings_for(url: str, plc_url: str, *relays: str, **fields: Any) -> FirehoseSettings:
    """Settings of a worker on the simulated network."""
    return FirehoseSettings(
        _env_file=None, nats_url=url, plc_url=plc_url, relay_urls=",".join(relays), allow_private_hosts=True, **fields
    )


@asynccontextmanager
async def following(settings: FirehoseSettings) -> AsyncIterator[LiveTail]:
    """A worker of the service in this process, connected to its relay. An error in one of its tasks fails the test."""
    tasks = Tasks()
    async with bus_client(settings.nats_url) as client:
        async with worker(settings, client, Readiness("nats"), tasks) as tail:
            assert tail is not None
            await connected(tail)
            yield tail
        assert not tasks.failed


async def connected(tail: LiveTail) -> None:
    """Wait until the tail is connected."""
    await until(lambda: tail.connection is not None and tail.connection.connected, pause=0.02)


def revs(events: list[LiveEvent], did: str) -> list[str]:
    """The revs of an account's commits, in the order in which they lie in the stream, each once."""
    return list(dict.fromkeys(event.rev for event in events if isinstance(event, LiveCommit) and event.did == did))
