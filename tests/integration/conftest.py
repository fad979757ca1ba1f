"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway_harness import Bystander, RunningGateway, bystander, running_gateway
from headwater.egress import egress_policy
from headwater.http import GuardedHttp
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
