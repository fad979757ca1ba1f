"""Whatever is killed at whatever moment: the jobs end done, and the table holds what it would hold without."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from random import Random

import asyncpg
import httpx
import pytest

from e2e.gateway_client import GatewayClient, Job, open_gateway
from e2e.running_stack import RunningStack, running_stack
from e2e.simulated import SimulatedPorts, SimulatedWorld
from e2e.table import assert_same, last_backfill, open_database, rows_of
from headwater.bus.streams import REQUEST_ACK_WAIT_SECONDS
from simulator import Account, Slow, Write
from waiting import until

VICTIMS = ("repo-backfill.0", "indexer.0", "api-gateway.0", "nats", "postgres")
LARGE = 20_000
WINDOW_SECONDS = 4.0
_WAITING = "SELECT count(*) FROM pg_locks WHERE relation = $1::text::regclass AND NOT granted"


@pytest.fixture(scope="module")
def ports() -> SimulatedPorts:
    return SimulatedPorts.choose()


@pytest.fixture(scope="module")
def crashing_stack(ports: SimulatedPorts) -> Iterator[RunningStack]:
    """A stack that these tests kill the parts of; what one seed leaves in it the next one finds."""
    with running_stack(ports.plc_url, **ports.variables) as running:
        yield running


@pytest.fixture
async def gateway(crashing_stack: RunningStack) -> AsyncIterator[GatewayClient]:
    async with open_gateway(crashing_stack) as client:
        yield client


class Accounts:
    """One large account and some small ones, half of which have been imported, and have changed, before the crashes."""

    def __init__(self, world: SimulatedWorld) -> None:
        self.large = world.add_account(host=world.hosts[0])
        self.large.seed_records(LARGE)
        size = len(self.large.car_bytes())
        self.large.fault(Slow(bytes_per_s=int(size / WINDOW_SECONDS), times=None))
        self.known = [world.add_account(host=world.hosts[1]) for _ in range(4)]
        self.fresh = [world.add_account(host=world.hosts[1]) for _ in range(4)]
        for account in (*self.known, *self.fresh):
            account.seed_records(400)
            account.seed_odd_records()

    @property
    def all(self) -> list[Account]:
        return [self.large, *self.known, *self.fresh]

    async def import_known(self, gateway: GatewayClient) -> None:
        for account in self.known:
            await gateway.done(account.did)
            account.change_records(0.2)
            account.apply_writes(Write("delete", *key) for key in sorted(account.expected())[::7])


async def kill_all(stack: RunningStack, rng: Random) -> None:
    """Kill every victim twice, in orders and at moments that ``rng`` chooses.

    The second round is about when the work that the first one interrupted is taken up again.
    """
    for first, last in ((0.2, WINDOW_SECONDS + 1.0), (REQUEST_ACK_WAIT_SECONDS - 3.0, REQUEST_ACK_WAIT_SECONDS + 3.0)):
        moments = sorted(rng.uniform(first, last) for _ in VICTIMS)
        began = asyncio.get_running_loop().time()
        for victim, moment in zip(rng.sample(VICTIMS, len(VICTIMS)), moments, strict=True):
            await asyncio.sleep(max(0.0, began + moment - asyncio.get_running_loop().time()))
            await asyncio.to_thread(stack.kill, victim)


async def ask_for_all(gateway: GatewayClient, accounts: list[Account], rng: Random) -> list[Job]:
    """Ask for every account at some moment of the window, and wait for the ends."""

    async def one(account: Account, moment: float) -> Job:
        await asyncio.sleep(moment)
        return await gateway.ended_patiently(account.did)

    moments = [0.0, *(rng.uniform(0.0, WINDOW_SECONDS) for _ in accounts[1:])]
    return await asyncio.gather(*(one(account, moment) for account, moment in zip(accounts, moments, strict=True)))


@pytest.mark.parametrize("seed", range(5))
async def test_every_process_is_killed_twice_in_mid_import(
    crashing_stack: RunningStack, gateway: GatewayClient, ports: SimulatedPorts, seed: int
) -> None:
    rng = Random(f"crash/{seed}")
    async with SimulatedWorld(10_000 + seed, ports) as world:
        accounts = Accounts(world)
        await asyncio.to_thread(crashing_stack.wait_ready)
        await accounts.import_known(gateway)
        jobs, _ = await asyncio.gather(ask_for_all(gateway, accounts.all, rng), kill_all(crashing_stack, rng))
        assert [job["state"] for job in jobs] == ["done"] * len(jobs), jobs
        await nothing_is_left(gateway)
    async with open_database(crashing_stack) as database:
        for account, job in zip(accounts.all, jobs, strict=True):
            assert_same(await rows_of(database, account.did), account.expected())
            assert await last_backfill(database, account.did) > job["requested_at_us"]
            assert job["rev"] == account.repo.rev
        assert await database.fetchval("SELECT count(*) FROM snapshot_batch") == 0


async def test_killed_after_the_commit_and_before_the_ack(
    crashing_stack: RunningStack, gateway: GatewayClient, ports: SimulatedPorts
) -> None:
    async with SimulatedWorld(20_000, ports) as world, open_database(crashing_stack) as database:
        account = world.add_account()
        account.seed_records(3000)
        await asyncio.to_thread(crashing_stack.wait_ready)
        # The table that only the last transaction of a job writes to.
        async with held_back(database, "deferred_commit") as waits:
            job_id = await gateway.begin(account.did)
            await waits()
            # A bus that has stopped takes no acks, and no word of a job's end.
            nats = crashing_stack.pid("nats")
            os.kill(nats, signal.SIGSTOP)
        try:
            await committed(database, job_id)
            crashing_stack.kill("indexer.0")
        finally:
            os.kill(nats, signal.SIGCONT)
        job = await gateway.until(job_id, "done")
        assert (job["records_written"], job["attempt"]) == (3000, 1)
        assert_same(await rows_of(database, account.did), account.expected())
        await nothing_is_left(gateway)


async def test_killed_before_the_commit(
    crashing_stack: RunningStack, gateway: GatewayClient, ports: SimulatedPorts
) -> None:
    async with SimulatedWorld(20_001, ports) as world, open_database(crashing_stack) as database:
        account = world.add_account()
        account.seed_records(3000)
        await asyncio.to_thread(crashing_stack.wait_ready)
        async with held_back(database, "repo") as waits:
            job_id = await gateway.begin(account.did)
            await waits()
            await gateway.until(job_id, "indexing")
            crashing_stack.kill("indexer.0")
        assert await database.fetchval("SELECT count(*) FROM record WHERE did = $1", account.did) == 0
        job = await gateway.until(job_id, "done")
        assert (job["records_written"], job["attempt"]) == (3000, 1)
        assert_same(await rows_of(database, account.did), account.expected())
        assert await last_backfill(database, account.did) > job["requested_at_us"]


async def committed(database: asyncpg.Connection, job_id: str) -> None:
    """Wait until the indexer has committed the end of a job."""
    async with asyncio.timeout(60):
        while await database.fetchval("SELECT state FROM backfill_job WHERE job_id = $1", job_id) != "done":
            await asyncio.sleep(0.02)


@asynccontextmanager
async def held_back(database: asyncpg.Connection, table: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Nobody else can write to a table within the block; yields what waits until somebody wants to."""

    async def somebody_waits() -> None:
        await until(lambda: database.fetchval(_WAITING, table))

    async with database.transaction():
        await database.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        yield somebody_waits


async def nothing_is_left(gateway: GatewayClient) -> None:
    """Wait until the queues are empty: every request and every batch is acknowledged."""
    left: object = None
    for _ in range(600):
        try:
            status = await gateway.status()
        except (httpx.TransportError, AssertionError) as error:
            left = error
        else:
            lanes = (*status["requests"], *status["lanes"])
            left = [lane for lane in lanes if lane["waiting"] or lane["in_flight"]]
            if not left:
                return
        await asyncio.sleep(0.2)
    raise AssertionError(f"still there after minutes: {left}")
