"""The service as a process, killed without a word in the middle of a stream."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from firehose_rig import Bus, bus, resize_live_stream, revs
from simulator import World
from waiting import until

_POSTS = 300
_UNTAKEN = 60


class Service:
    """One worker as a process that is started again after a kill."""

    def __init__(self, nats_url: str, world: World, directory: Path) -> None:
        self._directory = directory
        self._environment = os.environ | {
            "NATS_URL": nats_url,
            "PLC_URL": world.plc.url,
            "RELAY_URLS": world.relay.url,
            "ALLOW_PRIVATE_HOSTS": "1",
        }
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with (self._directory / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "firehose_backfill"),
                env=self._environment,
                cwd=self._directory,
                stderr=log,
                stdout=log,
            )

    async def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, which it obeys."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(self._process.wait(), 60) == 0


@asynccontextmanager
async def service(nats_url: str, world: World, directory: Path) -> AsyncIterator[Service]:
    """The service, following the world's relay."""
    running = Service(nats_url, world, directory)
    await running.start()
    try:
        await until(lambda: world.relay.subscriptions.accepted)
        yield running
    finally:
        await running.kill()


async def test_killed_twice_and_nothing_is_lost(nats_url: str, tmp_path: Path) -> None:
    async with World(seed=61) as world, bus(nats_url) as there:
        people = [world.add_account() for _ in range(4)]
        rng = Random(61)
        async with service(nats_url, world, tmp_path) as running:
            first = world.relay.stream.last_seq
            kills = (250, 250 + rng.randrange(10, 40))
            for number in range(_POSTS):
                people[number % len(people)].post(f"number {number}")
                await asyncio.sleep(0.005)
                if number == 200:  # before that nobody dies, so that there is a cursor to go on from
                    await _until_saved(there, first)
                if number in kills:
                    await running.kill()
                    await running.start()
            heads = {person.did: person.repo.head.rev for person in people}
            found = await there.until(lambda found: all(rev in revs(found, did) for did, rev in heads.items()))
            assert sum(len(revs(found, did)) for did in heads) == _POSTS
            await running.stop()
        (cursor,) = (await there.cursors()).values()
        assert cursor.seq == world.relay.stream.last_seq == first + _POSTS


async def test_killed_with_events_that_the_bus_has_not_taken(nats_url: str, tmp_path: Path) -> None:
    """Fails if the cursor were saved at receipt: they were read long before, and only the relay has them still."""
    async with World(seed=62) as world, bus(nats_url) as there:
        alice = world.add_account()
        async with service(nats_url, world, tmp_path) as running:
            alice.post("taken")
            await there.until(lambda found: len(revs(found, alice.did)) == 1)
            await _until_saved(there, world.relay.stream.last_seq)
            await resize_live_stream(there, 4 * 1024)
            for number in range(_UNTAKEN):
                alice.post(f"read, and not taken {number}")
            await asyncio.sleep(3)  # three savings
            await running.kill()
            assert len(revs(await there.events(), alice.did)) < _UNTAKEN
            await resize_live_stream(there, 1024 * 1024 * 1024)
            await running.start()
            await there.until(lambda found: len(revs(found, alice.did)) == 1 + _UNTAKEN)
            assert await there.gaps() == []


async def _until_saved(there: Bus, seq: int) -> None:
    """Wait until a cursor is there, and not before ``seq``."""

    async def is_saved() -> bool:
        return any(cursor.seq >= seq for cursor in (await there.cursors()).values())

    await until(is_saved)
