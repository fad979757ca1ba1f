"""The service as a process, killed without a word in the middle of a stream."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from random import Random

from firehose_rig import bus, revs
from simulator import World

_POSTS = 300


async def test_killed_twice_and_nothing_is_lost(nats_url: str, tmp_path: Path) -> None:
    async with World(seed=61) as world, bus(nats_url) as there:
        people = [world.add_account() for _ in range(4)]
        environment = os.environ | {
            "NATS_URL": nats_url,
            "PLC_URL": world.plc.url,
            "RELAY_URLS": world.relay.url,
            "ALLOW_PRIVATE_HOSTS": "1",
        }

        async def start() -> asyncio.subprocess.Process:
            command = (sys.executable, "-m", "firehose_backfill")
            with (tmp_path / "log").open("ab") as log:
                return await asyncio.create_subprocess_exec(
                    *command, env=environment, cwd=tmp_path, stderr=log, stdout=log
                )

        rng = Random(61)
        process = await start()
        try:
            while not world.relay.subscriptions.accepted:
                await asyncio.sleep(0.05)
            first = world.relay.stream.last_seq
            for number in range(_POSTS):
                people[number % len(people)].post(f"number {number}")
                await asyncio.sleep(0.005)
                # The first second is left alone, so that there is a cursor to go on from.
                if number in (250, 250 + rng.randrange(10, 40)):
                    process.send_signal(signal.SIGKILL)
                    await process.wait()
                    process = await start()
            heads = {person.did: person.repo.head.rev for person in people}
            found = await there.until(lambda found: all(rev in revs(found, did) for did, rev in heads.items()), 40)
            assert sum(len(revs(found, did)) for did in heads) == _POSTS
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 20) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        (cursor,) = (await there.cursors()).values()
        assert cursor.seq == world.relay.stream.last_seq == first + _POSTS
