"""Whatever is killed while history, live events and a user's import are brought: the table ends as the network is."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from random import Random

import httpx
import pytest

from e2e.differing import until_settled
from e2e.gateway_client import open_gateway
from e2e.living_network import BACKFILL_DAYS, LivingNetwork
from e2e.running_stack import RunningStack, running_stack
from e2e.simulated import SimulatedPorts

VICTIMS = ("firehose-backfill.0", "indexer.0", "repo-backfill.0", "nats", "postgres")
LIVE_SECONDS = 16.0
SETTLE_SECONDS = 240.0


@pytest.mark.timeout(600)  # a repo that breaks a second time is fetched a minute after the first
@pytest.mark.parametrize("seed", range(3))
async def test_every_process_is_killed_twice_amid_replay_crawl_live_and_import(seed: int) -> None:
    rng = Random(f"firehose crash/{seed}")
    ports = SimulatedPorts.choose()
    network = LivingNetwork(40_000 + seed, ports)
    async with network.world as world, AsyncExitStack() as ends:
        variables = ports.variables | {"RELAY_URLS": world.relay.url, "BACKFILL_DAYS": str(BACKFILL_DAYS)}
        running = running_stack(ports.plc_url, **variables)
        stack = await asyncio.to_thread(running.__enter__)
        ends.push_async_exit(partial(asyncio.to_thread, running.__exit__))
        await asyncio.gather(network.live(LIVE_SECONDS), kill_all(stack, rng), import_large(stack, network))
        await asyncio.to_thread(stack.wait_ready)
        await history_is_done(stack)
        try:
            await until_settled(stack.database_url, network.expected, network.told, SETTLE_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}\n{error}\n{stack.log()}") from None


async def kill_all(stack: RunningStack, rng: Random) -> None:
    """Kill every victim twice, in orders and at moments that ``rng`` chooses."""
    began = asyncio.get_running_loop().time()
    moments = sorted(rng.uniform(0.2, LIVE_SECONDS + 2.0) for _ in 2 * VICTIMS)
    order = [*rng.sample(VICTIMS, len(VICTIMS)), *rng.sample(VICTIMS, len(VICTIMS))]
    for victim, moment in zip(order, moments, strict=True):
        await asyncio.sleep(max(0.0, began + moment - asyncio.get_running_loop().time()))
        await asyncio.to_thread(stack.kill, victim)


async def history_is_done(stack: RunningStack) -> None:
    """Wait until replay and crawl say that they have brought everything."""
    told: object = None
    async with open_gateway(stack) as gateway:
        for _ in range(600):
            try:
                told = await gateway.firehose()
            except (httpx.TransportError, AssertionError) as error:
                told = error
            else:
                if told["history"] == "done":
                    return
            await asyncio.sleep(0.25)
    raise AssertionError(f"the history is never done: {told}")


async def import_large(stack: RunningStack, network: LivingNetwork) -> None:
    """What a user asks for; it has to be done whatever dies."""
    async with open_gateway(stack) as gateway:
        job = await gateway.ended_patiently(network.large.did)
        assert job["state"] == "done", job
        network.whole.add(network.large.did)
