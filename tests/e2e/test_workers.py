"""Two workers of repo-backfill and two of the indexer: the work is shared, and one that dies is made up for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from e2e.gateway_client import GatewayClient, open_gateway
from e2e.running_stack import RunningStack, running_stack
from e2e.simulated import SimulatedPorts, SimulatedWorld
from e2e.table import assert_same, open_database, rows_of
from headwater.bus.subjects import PARTITIONS
from simulator import Account, Slow

ACCOUNTS = 40
FETCHERS = ("repo-backfill.0", "repo-backfill.1")
WRITERS = ("indexer.0", "indexer.1")
_LOCKS = "SELECT pid, array_agg(objid::int) AS locks FROM pg_locks WHERE locktype = 'advisory' AND granted GROUP BY pid"


@pytest.fixture(scope="module")
def ports() -> SimulatedPorts:
    return SimulatedPorts.choose()


@pytest.fixture(scope="module")
def wide_stack(ports: SimulatedPorts) -> Iterator[RunningStack]:
    arguments = ("--workers", "repo-backfill=2,indexer=2")
    with running_stack(ports.plc_url, *arguments, **ports.variables) as running:
        yield running


@pytest.fixture
async def gateway(wide_stack: RunningStack) -> AsyncIterator[GatewayClient]:
    async with open_gateway(wide_stack) as client:
        yield client


@pytest.fixture
async def database(wide_stack: RunningStack) -> AsyncIterator[asyncpg.Connection]:
    async with open_database(wide_stack) as connection:
        yield connection


def some_accounts(world: SimulatedWorld) -> list[Account]:
    accounts = [world.add_account() for _ in range(ACCOUNTS)]
    for account in accounts:
        account.seed_records(100)
    return accounts


async def figure(gateway: GatewayClient, stack: RunningStack, process: str, name: str) -> float:
    """The sum of one counter or gauge of a process."""
    answer = await gateway.http.get(f"{stack.health_url(process)}/metrics")
    families = text_string_to_metric_families(answer.text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


async def assert_all_there(database: asyncpg.Connection, accounts: list[Account]) -> None:
    for account in accounts:
        assert_same(await rows_of(database, account.did), account.expected())


def test_history_gives_way_to_what_carries_live_events(wide_stack: RunningStack) -> None:
    nice = {name: psutil.Process(wide_stack.pid(name)).nice() for name in (*FETCHERS, *WRITERS, "firehose-backfill.0")}
    assert min(nice[name] for name in FETCHERS) > max(nice[name] for name in nice if name not in FETCHERS)


async def test_all_take_part_and_no_partition_has_two_owners(
    wide_stack: RunningStack, gateway: GatewayClient, database: asyncpg.Connection, ports: SimulatedPorts
) -> None:
    async with SimulatedWorld(31, ports) as world:
        accounts = some_accounts(world)
        jobs = await gateway.all_ended(await asyncio.gather(*(gateway.begin(account.did) for account in accounts)))
    assert {job["state"] for job in jobs} == {"done"}
    await assert_all_there(database, accounts)
    published = [
        await figure(gateway, wide_stack, name, "headwater_repo_backfill_records_published_total") for name in FETCHERS
    ]
    assert min(published) > 0
    assert sum(published) == 100 * ACCOUNTS
    written = [await figure(gateway, wide_stack, name, "headwater_indexer_rows_written_total") for name in WRITERS]
    assert min(written) > 0
    assert sum(written) == 100 * ACCOUNTS
    owned = [await figure(gateway, wide_stack, name, "headwater_indexer_partitions_owned") for name in WRITERS]
    assert owned == [PARTITIONS / 2] * 2
    locks = [set(row["locks"]) for row in await database.fetch(_LOCKS) if len(row["locks"]) > 1]
    assert [len(held) for held in locks] == [PARTITIONS / 2] * 2
    assert not locks[0] & locks[1]
    workers = {(w["service"], w["worker_id"], w["worker_count"]) for w in (await gateway.status())["workers"]}
    assert workers >= {(service, i, 2) for service in ("repo-backfill", "indexer") for i in (0, 1)}


@pytest.mark.parametrize("victims", [("repo-backfill.0",), ("repo-backfill.1", "indexer.0")])
async def test_the_work_of_one_that_dies_again_and_again_is_done(
    wide_stack: RunningStack,
    gateway: GatewayClient,
    database: asyncpg.Connection,
    ports: SimulatedPorts,
    victims: tuple[str, ...],
) -> None:
    async with SimulatedWorld(32 + len("".join(victims)), ports) as world:
        accounts = some_accounts(world)
        for account in accounts[::4]:
            account.fault(Slow(bytes_per_s=len(account.car_bytes()) // 2))
        asked = [await gateway.begin(account.did) for account in accounts]
        for _ in range(3):
            await asyncio.sleep(0.7)
            for victim in victims:
                await asyncio.to_thread(wide_stack.kill, victim)
        jobs = await gateway.all_ended(asked)
        await assert_all_there(database, accounts)
    assert {job["state"] for job in jobs} == {"done"}
