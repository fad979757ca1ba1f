"""NATS killed in the middle of work, with our streams and our configuration: what it has acknowledged is not lost.

Nothing may be left behind either: a message below its consumer's ack floor would be delivered to nobody. What was
acked may come again, and in no order; that is for the indexer's rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from bus_client import bus_client
from headwater.bus.publish import Publisher
from headwater.bus.pull import Pull
from headwater.bus.streams import STREAM_LIVE, apply_topology, live_consumer
from headwater.bus.subjects import RECORDS_LIVE
from headwater.cancelling import cancel_and_wait
from headwater_local.nats import EmbeddedNats
from headwater_local.ports import take_port
from waiting import until

PARTITIONS = 4
KILLS = 4


class KilledServer:
    """An embedded server that dies and starts again on what it has left on disk."""

    def __init__(self, home: Path) -> None:
        self._server = EmbeddedNats(home, take_port())
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return self._server.url

    async def start(self) -> None:
        self._server.prepare()
        argv = self._server.program().argv
        quiet = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(*argv, stdout=quiet, stderr=quiet)
        await until(lambda: asyncio.to_thread(self._server.program().probe))

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def __aenter__(self) -> KilledServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()


@asynccontextmanager
async def following(url: str) -> AsyncIterator[Client]:
    """A client that says nothing of it when the server is away."""

    async def ignore(_: Exception) -> None:
        """That the server is away is what this is about."""

    async with bus_client(url, error_cb=ignore) as client:
        yield client


async def until_grown_by(found: set[str], number: int) -> None:
    wanted = len(found) + number
    await until(lambda: len(found) >= wanted, pause=0.01)


async def test_what_the_bus_has_acknowledged_outlives_its_death(tmp_path: Path) -> None:
    rng = Random("killed bus")
    acknowledged: set[str] = set()
    delivered: set[str] = set()
    # The client closes first: one whose server dies in that moment would look for it for ever.
    async with KilledServer(tmp_path) as server, following(server.url) as client:
        js = client.jetstream()
        await apply_topology(js)
        publisher = Publisher(js, client.max_payload)

        async def publish(partition: int) -> None:
            for number in range(1_000_000):
                name = f"{partition}/{number}"
                await publisher.publish(f"{RECORDS_LIVE}.{partition}", rng.randbytes(900), name, {"Name": name})
                acknowledged.add(name)

        def take(msg: Msg) -> None:
            delivered.add((msg.headers or {})["Name"])
            acks.put_nowait(msg)

        async def ack() -> None:
            while True:
                with suppress(nats.errors.Error, OSError):
                    await (await acks.get()).ack()

        async def consume(partition: int) -> None:
            async with Pull(client, STREAM_LIVE, live_consumer(partition), take) as pull:
                while True:
                    with suppress(nats.errors.Error, OSError):
                        await pull.ask(4)

        async def all_acknowledged() -> bool:
            return (await js.stream_info(STREAM_LIVE)).state.messages == 0

        acks: asyncio.Queue[Msg] = asyncio.Queue()
        publishing = [asyncio.create_task(publish(partition)) for partition in range(PARTITIONS)]
        consuming = [asyncio.create_task(work) for work in (ack(), *map(consume, range(PARTITIONS)))]
        try:
            for _ in range(KILLS):
                await until_grown_by(acknowledged, rng.randrange(20, 300))
                await server.kill()
                await server.start()
            await until_grown_by(acknowledged, 100)
            await cancel_and_wait(publishing)
            await until(all_acknowledged, pause=0.25)
        finally:
            await cancel_and_wait([*publishing, *consuming])
    assert acknowledged <= delivered
