"""Postgres stands still and the relay goes on: what waits is bounded from the table back to the socket, the relay's
patience ends, and nothing is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial

import nats
import psutil
import pytest

from e2e.firehose_client import until_firehose
from e2e.running_stack import RunningStack, running_stack
from e2e.simulated import SimulatedPorts, SimulatedWorld
from headwater.bus.streams import STREAM_LIVE
from oracle import until_world
from simulator import Account
from waiting import until

_MIB = 1024 * 1024
POSTS, POST_BYTES = 2_000, 40_000
GROWTH = 32 * _MIB
"""What the process may grow by; more than twice of it is written."""
LIMITS = {"HEADWATER_FIREHOSE_BYTES": str(_MIB), "HEADWATER_INDEXER_LIVE_BYTES": str(_MIB)}


@pytest.mark.timeout(600)  # each look at the table reads all of what was written
async def test_memory_is_bounded_while_postgres_stands_still_and_nothing_is_lost() -> None:
    ports = SimulatedPorts.choose()
    async with SimulatedWorld(91, ports) as world, AsyncExitStack() as ends:
        people = [world.add_account() for _ in range(8)]
        world.relay.stream.queue = 50
        running = running_stack(ports.plc_url, **ports.variables, **LIMITS, RELAY_URLS=world.relay.url)
        stack = await asyncio.to_thread(running.__enter__)
        ends.push_async_exit(partial(asyncio.to_thread, running.__exit__))
        await until(lambda: world.relay.subscriptions.connected)
        for person in people:
            person.post("before")
        await until_world(stack.database_url, world.expected, 150)

        await _resize_live_stream(stack, 2 * _MIB)
        process = psutil.Process(stack.pid("firehose-backfill.0"))
        before = most = process.memory_info().rss
        with _standing_still(stack.pid("postgres")):
            for number in range(POSTS):
                _write(people[number % len(people)], number)
                if number % 20 == 0:
                    await asyncio.sleep(0.05)
                    most = max(most, process.memory_info().rss)
            while not world.relay.subscriptions.too_slow:
                _write(people[0], POSTS)
                await asyncio.sleep(0.05)
        assert most - before < GROWTH, f"grew by {(most - before) / _MIB:.0f} MiB"
        await _resize_live_stream(stack, 1024 * _MIB)
        await until_world(stack.database_url, world.expected, 150)
        assert process.is_running()
        assert (await until_firehose(stack, bool))["gaps"] == []


def _write(account: Account, number: int) -> None:
    account.post(f"{number} " + "x" * POST_BYTES)


@contextmanager
def _standing_still(pid: int) -> Iterator[None]:
    """Nobody of Postgres does anything within the context."""
    postmaster = psutil.Process(pid)
    stopped = [postmaster, *postmaster.children(recursive=True)]
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


async def _resize_live_stream(stack: RunningStack, max_bytes: int) -> None:
    client = await nats.connect(stack.nats_url)
    try:
        js = client.jetstream()
        config = (await js.stream_info(STREAM_LIVE)).config
        config.max_bytes = max_bytes
        await js.update_stream(config)
    finally:
        await client.close()
