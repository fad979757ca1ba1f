"""Fixtures that every test may use: real servers, one of each a session, clean for each test.

- ``database_url``: a new, empty Postgres database, dropped after the test.
- ``nats_url``: a NATS server whose JetStream holds no stream and no bucket.
- ``postgres_dsn``: the maintenance database of the session's Postgres, for tests that make databases themselves.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import nats
import pytest
from hypothesis import HealthCheck, settings

from servers import running_nats, running_postgres

# Drawn tests take the time that they take: a slow machine is no failure.
settings.register_profile("headwater", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("headwater")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        choices=("embedded", "containers"),
        default="embedded",
        help="where the tests' Postgres and NATS come from: wheels (default) or Docker containers",
    )


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> str:
    chosen: str = request.config.getoption("--backend")
    return chosen


@pytest.fixture(scope="session")
def postgres_dsn(backend: str) -> Iterator[str]:
    with running_postgres(backend) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def _nats_server(backend: str) -> Iterator[str]:
    with running_nats(backend) as url:
        yield url


@pytest.fixture
async def database_url(postgres_dsn: str) -> AsyncIterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    await _execute(postgres_dsn, f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}"))
    await _execute(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def nats_url(_nats_server: str) -> str:
    connection = await nats.connect(_nats_server)
    try:
        jetstream = connection.jetstream(timeout=60)
        for stream in await jetstream.streams_info():
            await jetstream.delete_stream(stream.config.name or "")
    finally:
        await connection.close()
    return _nats_server


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
