"""The composition root of firehose-backfill."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faststream.asgi import AsgiFastStream

from firehose_backfill.settings import FirehoseSettings
from headwater.bus.streams import BUCKET_WORKERS, apply_topology
from headwater.health import Readiness, health_routes
from headwater.presence import Presence
from headwater.service import Tasks, asgi_app, nats_broker, watch_bus

SERVICE = "firehose-backfill"


def build(settings: FirehoseSettings, tasks: Tasks) -> AsgiFastStream:
    """The service as an ASGI application. Without a relay to follow it keeps its place on the bus and waits."""
    readiness = Readiness("nats")
    broker = nats_broker(settings, SERVICE)

    @asynccontextmanager
    async def work() -> AsyncIterator[None]:
        client = await broker.connect()
        js = client.jetstream()
        await apply_topology(js)
        tasks.start(watch_bus(client, readiness), "watch_bus")
        bucket = await js.key_value(BUCKET_WORKERS)
        async with Presence(bucket, SERVICE, settings.worker_id, settings.worker_count, readiness):
            yield
        await tasks.stop()

    return asgi_app(broker, work, health_routes(SERVICE, readiness))
