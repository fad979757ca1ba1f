"""One repo that its user imports while it is crawled, replayed and written to: the end is the repo's.

Half of its user's edits keep the date of what they edit, so they lie outside of every cutoff.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial

import pytest

from e2e.differing import until_settled
from e2e.gateway_client import open_gateway
from e2e.living_network import BACKFILL_DAYS, LivingNetwork
from e2e.running_stack import RunningStack, running_stack
from e2e.simulated import SimulatedPorts
from simulator import Slow

LIVE_SECONDS = 12.0
FETCH_SECONDS = 2.0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("days", [0, 7])
async def test_imported_crawled_replayed_and_written_to_at_once(days: int) -> None:
    ports = SimulatedPorts.choose()
    network = LivingNetwork(50_000 + days, ports, small=0, wronged=0)
    large = network.large
    large.fault(Slow(bytes_per_s=int(len(large.car_bytes()) / FETCH_SECONDS), times=None))
    async with network.world as world, AsyncExitStack() as ends:
        variables = ports.variables | {"RELAY_URLS": world.relay.url, "BACKFILL_DAYS": str(BACKFILL_DAYS)}
        running = running_stack(ports.plc_url, **variables)
        stack = await asyncio.to_thread(running.__enter__)
        ends.push_async_exit(partial(asyncio.to_thread, running.__exit__))
        await asyncio.gather(network.live(LIVE_SECONDS, each=0.01), import_again_and_again(stack, network, days))
        await until_settled(stack.database_url, network.expected, network.told, 150)


async def import_again_and_again(stack: RunningStack, network: LivingNetwork, days: int) -> None:
    """Each import meets what has been written since the one before, and what is being written."""
    end = asyncio.get_running_loop().time() + LIVE_SECONDS
    async with open_gateway(stack) as gateway:
        while asyncio.get_running_loop().time() < end:
            job = await gateway.ended(await gateway.begin(network.large.did, days))
            assert job["state"] == "done", job
    if days == 0:
        network.whole.add(network.large.did)
