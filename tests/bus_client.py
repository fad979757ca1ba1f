"""A connection of a test's own to the bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats
from nats.aio.client import Client


@asynccontextmanager
async def bus_client(nats_url: str, **options: Any) -> AsyncIterator[Client]:
    """A client that comes back by itself when the server was away, as those of the services do."""
    async with await nats.connect(nats_url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, **options) as client:
        yield client
