"""Everybody's last 30 days, then live, without a gap: the whole stack on a relay that holds three of them.

What the relay's window holds comes by replay, what lies before it by snapshots, also of what its list misses; what
was never told, by closing the gap. At the end every row is compared with the simulated network.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial

from e2e.firehose_client import gaps_are_closed, history_is_done, until_firehose
from e2e.running_stack import RunningStack, running_stack
from e2e.simulated import SimulatedPorts, SimulatedWorld
from headwater.clock import now_us
from oracle import until_world
from simulator import Account, ExpectedRepo

DAY = 86_400.0
DAYS = 30
POST = "app.bsky.feed.post"


class Network:
    """Accounts with records older and newer than the relay's window and than the cutoff."""

    def __init__(self, ports: SimulatedPorts) -> None:
        self.world = world = SimulatedWorld(33, ports, hosts=3)
        world.clock.advance(-60 * DAY)
        old, self.mixed, self.middle, self.windowed = (world.add_account(host=world.hosts[i % 2]) for i in range(4))
        self.leaving, self.returning, self.deleted = (world.add_account(host=world.hosts[0]) for _ in range(3))
        self.unlisted = world.add_account(host=world.hosts[2])
        world.relay.unlisted_hosts.add(world.hosts[2].name)
        world.relay.stream.keep_seconds = 3 * DAY
        self.write("sixty days ago", old, self.mixed)
        world.clock.advance(40 * DAY)
        self.write("twenty days ago", self.mixed, self.middle, self.unlisted)
        world.clock.advance(20 * DAY - 1800)
        self.write("half an hour ago", self.mixed, self.windowed, self.leaving, self.returning, self.deleted)
        self.windowed.delete(POST, self.windowed.post("deleted within the window"))
        self.doomed = self.middle.post("deleted in the gap")

    @staticmethod
    def write(text: str, *accounts: Account) -> None:
        for account in accounts:
            for number in range(5):
                account.post(f"{text}, {number}")

    def expected(self) -> dict[str, ExpectedRepo]:
        """What Postgres must hold; the cutoff lies far from every record. Nothing is known of who wrote only before."""
        cutoff_us = int((time.time() - DAYS * DAY) * 1_000_000)
        repos = self.world.expected(cutoff_us)
        return {did: repo for did, repo in repos.items() if repo.due or repo.status != "active"}

    def live_through_a_gap(self) -> None:
        """What nobody hears of: a deletion that is all that its account does, writing, and the fates of accounts."""
        self.middle.delete(POST, self.doomed)
        self.write("in the gap", self.mixed)
        self.leaving.status = "deactivated"
        self.returning.status = "active"
        self.deleted.status = "deleted"


async def test_history_live_and_a_gap() -> None:
    ports = SimulatedPorts.choose()
    network = Network(ports)
    async with network.world as world, AsyncExitStack() as ends:
        variables = ports.variables | {"RELAY_URLS": world.relay.url, "BACKFILL_DAYS": str(DAYS)}
        running = running_stack(ports.plc_url, **variables)
        stack = await asyncio.to_thread(running.__enter__)
        ends.push_async_exit(partial(asyncio.to_thread, running.__exit__))
        await _live_through(stack, network)


async def _live_through(stack: RunningStack, network: Network) -> None:
    world = network.world
    await until_firehose(stack, lambda told: bool(told["crawl"] or told["replay"]))
    stack.kill("firehose-backfill.0")
    told = await until_firehose(stack, history_is_done)
    assert (told["plan"]["days"], told["plan"]["requested_by"]) == (DAYS, "environment")
    assert told["replay"]["events"] > 0
    assert (told["crawl"]["filed"], told["crawl"]["failed"], told["crawl"]["hosts_failed"]) == (7, 0, 0)
    await until_world(stack.database_url, network.expected, 150)

    world.clock.now_us = now_us()  # of what is told of an account the newest holds
    network.write("live", network.windowed, network.unlisted)
    network.returning.status = "deactivated"
    await until_world(stack.database_url, network.expected, 150)

    await world.relay.stop()
    network.live_through_a_gap()
    world.relay.stream.keep_events = 1
    network.write("behind the gap", network.windowed)
    await world.relay.start()
    await until_firehose(stack, gaps_are_closed)
    await until_world(stack.database_url, network.expected, 150)
    stack.kill("firehose-backfill.0")
    await asyncio.to_thread(stack.wait_ready)
    assert history_is_done(await until_firehose(stack, bool)), "and it stays so"
