"""A service leaves its work while it can still speak to the bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faststream.nats import NatsBroker

from headwater.bus.round_trip import round_trip
from headwater.service import asgi_app


async def test_the_work_ends_before_the_broker_closes(nats_url: str) -> None:
    broker = NatsBroker(nats_url, logger=None)
    seen: list[bool] = []

    @asynccontextmanager
    async def work() -> AsyncIterator[None]:
        client = await broker.connect()
        try:
            yield
        finally:
            seen.append(client.is_connected)
            await round_trip(client)

    async with asgi_app(broker, work, []).start_lifespan_context():
        assert seen == []
    assert seen == [True]
