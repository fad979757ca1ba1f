"""Two workers of the firehose, then three, then one, while the relay goes on and workers are killed: nothing is lost,
each DID is one worker's, and each worker has a cursor of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random

import nats
import pytest
from nats.aio.msg import Msg

from e2e.firehose_client import until_firehose
from e2e.running_stack import RunningStack, running_stack
from e2e.simulated import SimulatedPorts, SimulatedWorld
from firehose_backfill.cursor import CursorKey
from firehose_backfill.cursor_store import CursorStore
from headwater.bus.messages import decode_live
from headwater.bus.streams import BUCKET_CURSORS
from headwater.bus.subjects import RECORDS_LIVE, partition
from oracle import until_world
from servers import scratch_directory
from simulator import Account
from waiting import until

POST = "app.bsky.feed.post"
LAYOUTS = (2, 3, 1)


class Relay:
    """People who write as long as they are let."""

    def __init__(self, people: list[Account]) -> None:
        self._people = people
        self._rng = Random(88)
        self._posts: dict[str, list[str]] = defaultdict(list)

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._write())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _write(self) -> None:
        while True:
            person = self._rng.choice(self._people)
            posts = self._posts[person.did]
            if len(posts) > 3 and self._rng.random() < 0.3:
                person.delete(POST, posts.pop(self._rng.randrange(len(posts))))
            else:
                posts.append(person.post(f"number {len(posts)}"))
            await asyncio.sleep(0.02)


class Publishers:
    """Which partitions each publishing process has brought events of; batches' ids begin with the process's own."""

    def __init__(self) -> None:
        self.partitions: dict[str, set[int]] = defaultdict(set)

    async def hear(self, message: Msg) -> None:
        process = (message.headers or {})["Nats-Msg-Id"].partition(".")[0]
        self.partitions[process] |= {partition(event.did) for event in decode_live(message.data).events}

    def by_worker(self, count: int) -> dict[int, int]:
        """How many processes were each worker; nobody was two."""
        workers: dict[int, int] = defaultdict(int)
        for partitions in self.partitions.values():
            (worker,) = {number % count for number in partitions}
            workers[worker] += 1
        return workers


@pytest.mark.timeout(600)
async def test_workers_come_and_go_while_the_relay_goes_on() -> None:
    ports = SimulatedPorts.choose()
    async with SimulatedWorld(88, ports) as world:
        relay = Relay([world.add_account() for _ in range(24)])
        with scratch_directory() as directory:
            directory.chmod(0o711)  # where root runs this, Postgres must get through
            for count in LAYOUTS:
                async with _layout(world, ports, directory / "home", count) as stack:
                    await _live_through(world, relay, stack, count)
                # Between two layouts nobody listens.
                async with relay.going_on():
                    await asyncio.sleep(0.5)


@asynccontextmanager
async def _layout(world: SimulatedWorld, ports: SimulatedPorts, home: Path, count: int) -> AsyncIterator[RunningStack]:
    variables = ports.variables | {"RELAY_URLS": world.relay.url, "HEADWATER_HOME": str(home)}
    running = running_stack(ports.plc_url, "--workers", f"firehose-backfill={count}", **variables)
    stack = await asyncio.to_thread(running.__enter__)
    error: BaseException | None = None
    try:
        yield stack
    except BaseException as raised:
        error = raised
        raise
    finally:
        await asyncio.to_thread(partial(running.__exit__, error and type(error), error, None))


async def _live_through(world: SimulatedWorld, relay: Relay, stack: RunningStack, count: int) -> None:
    await until(lambda: world.relay.subscriptions.connected >= count)
    publishers = Publishers()
    client = await nats.connect(stack.nats_url)
    try:
        await client.subscribe(f"{RECORDS_LIVE}.*", cb=publishers.hear)
        async with relay.going_on():
            await _refuses(world, stack, count)
            await until(lambda: len(publishers.by_worker(count)) == count)
            assert publishers.by_worker(count) == dict.fromkeys(range(count), 1)
            stack.kill(f"firehose-backfill.{count - 1}")
            await asyncio.sleep(1)
        await until_world(stack.database_url, world.expected, 150)
        assert publishers.by_worker(count) == dict.fromkeys(range(count), 1) | {count - 1: 2}
        cursors = CursorStore(await client.jetstream().key_value(BUCKET_CURSORS))
        name = world.relay.url.removeprefix("http://")
        own = {CursorKey(relay=name, worker_count=count, worker_id=worker) for worker in range(count)}
        async with asyncio.timeout(60):
            while not own <= (saved := await cursors.all()).keys():
                await asyncio.sleep(0.2)
    finally:
        await client.close()
    assert max(saved[key].seq for key in own) <= world.relay.stream.last_seq
    following = [(worker, True) for worker in range(count)]
    told = await until_firehose(
        stack, lambda told: [(tail["worker_id"], tail["connected"]) for tail in told["live"][:count]] == following
    )
    assert told["gaps"] == []


async def _refuses(world: SimulatedWorld, stack: RunningStack, count: int) -> None:
    """A second process that is started as worker 0 notices, and ends."""
    own = {"NATS_URL": stack.nats_url, "WORKER_ID": "0", "WORKER_COUNT": str(count), "RELAY_URLS": world.relay.url}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "firehose_backfill"),
        env=os.environ | own | {"ALLOW_PRIVATE_HOSTS": "1", "PLC_URL": world.plc.url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 120)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode not in (0, None)
    assert b"another process is firehose-backfill.0 already" in said
