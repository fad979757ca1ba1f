"""Fixtures of the end-to-end tests: running stacks, the networks that they look at, and the way into Postgres.

Ordinary tests share one stack on the simulator and one on the real PDS. A test's own world takes the place of the
PLC directory and of the handle resolver that the shared stack knows; its accounts live on hosts of their own, so
that what a host has done to the stack in one test is not held against one in the next.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import asyncpg
import pytest
from playwright.async_api import Browser

from e2e.gateway_client import GatewayClient, open_gateway
from e2e.real_network import RealNetwork, real_servers
from e2e.running_stack import RunningStack, running_stack
from e2e.simulated import SimulatedPorts, SimulatedWorld
from e2e.table import open_database
from e2e.web import require_chromium, running_browser


@pytest.fixture(scope="session")
def simulated_ports() -> SimulatedPorts:
    return SimulatedPorts.choose()


@pytest.fixture(scope="session")
def stack(simulated_ports: SimulatedPorts) -> Iterator[RunningStack]:
    """The stack that ordinary tests share, on whatever world is there."""
    limits = {"HEADWATER_FETCH_TRIES": "4", "HEADWATER_CAR_MAX_BYTES": str(64 << 20)}
    with running_stack(simulated_ports.plc_url, **simulated_ports.variables, **limits) as running:
        yield running


@pytest.fixture
async def new_world(simulated_ports: SimulatedPorts, request: pytest.FixtureRequest) -> AsyncIterator[SimulatedWorld]:
    """A world that is not started yet; each test's has other accounts."""
    world = SimulatedWorld(zlib.crc32(request.node.nodeid.encode()), simulated_ports)
    yield world
    await world.stop()


@pytest.fixture
async def world(new_world: SimulatedWorld) -> SimulatedWorld:
    """A world that answers."""
    await new_world.start()
    return new_world


@pytest.fixture
async def gateway(stack: RunningStack) -> AsyncIterator[GatewayClient]:
    """Speaks to the shared stack."""
    async with open_gateway(stack) as client:
        yield client


@pytest.fixture
async def database(stack: RunningStack) -> AsyncIterator[asyncpg.Connection]:
    """The shared stack's Postgres."""
    async with open_database(stack) as connection:
        yield connection


@pytest.fixture(scope="session")
def _real_servers() -> Iterator[dict[str, str]]:
    with real_servers() as servers:
        yield servers


@pytest.fixture
async def real_network(_real_servers: dict[str, str]) -> AsyncIterator[RealNetwork]:
    """A driver of a real PLC directory and a real PDS."""
    network = RealNetwork(**_real_servers)
    yield network
    await network.close()


@pytest.fixture(scope="session")
def real_stack(_real_servers: dict[str, str]) -> Iterator[RunningStack]:
    """A stack on the real PLC directory and PDS."""
    with running_stack(_real_servers["plc_url"], HANDLE_RESOLVER_URL=_real_servers["pds_url"]) as running:
        yield running


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A real browser; the test skips where there is none."""
    require_chromium()
    async with running_browser() as browser:
        yield browser


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Where screenshots go: beside the README with SCREENSHOTS=1, otherwise nowhere that stays."""
    return Path(__file__).parents[2] / "docs/images" if os.environ.get("SCREENSHOTS") else tmp_path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show beside a failure what the stacks that the test used have said last."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for name, value in item.funcargs.items():
            for stack in value if isinstance(value, tuple) else (value,):
                if isinstance(stack, RunningStack):
                    report.sections.append((f"log of {name}", stack.log()))
    return report
