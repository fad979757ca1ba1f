"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import nats
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from gateway_harness import Bystander, RunningGateway, bystander, running_gateway
from headwater.bus.streams import apply_topology
from headwater.egress import egress_policy
from headwater.http import GuardedHttp
from indexer_rig import emptied, migrated_database
from own_data_rig import Stack, running_both
from simulator.world import World


@pytest.fixture
async def http() -> AsyncIterator[GuardedHttp]:
    """The guarded client as development has it: loopback is allowed."""
    async with GuardedHttp(egress_policy(allow_private_hosts=True), user_agent="headwater-test") as client:
        yield client


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A network of two accounts."""
    world = World(seed=6)
    world.add_account()
    world.add_account(curve="p256")
    async with world:
        yield world


@pytest.fixture
async def gateway(nats_url: str, world: World, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway in that network."""
    async with running_gateway(nats_url, world.plc.url, tmp_path) as running:
        yield running


@pytest.fixture
async def bus(nats_url: str, gateway: RunningGateway) -> AsyncIterator[Bystander]:
    """Somebody else on the gateway's bus, who answers as an indexer that holds nothing."""
    async with bystander(nats_url) as client:
        await client.answer_as_indexer()
        yield client


@pytest.fixture
async def stack(nats_url: str, database_url: str, world: World, tmp_path: Path) -> AsyncIterator[Stack]:
    """A gateway and an indexer in that network."""
    async with running_both(nats_url, database_url, world, tmp_path) as running:
        yield running


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    """A client of a bus that has its streams and buckets."""
    async with await nats.connect(nats_url) as connected:
        await apply_topology(connected.jetstream())
        yield connected


@pytest.fixture
def js(client: Client) -> JetStreamContext:
    """The JetStream of that bus."""
    return client.jetstream()


@pytest.fixture(scope="module")
def migrated_url(postgres_dsn: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database that a module's tests share."""
    with migrated_database(postgres_dsn, request.module.__name__.rpartition(".")[2]) as url:
        yield url


@pytest.fixture
async def table(migrated_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A writer's connection to it, without a row."""
    async with emptied(migrated_url) as connection:
        yield connection
