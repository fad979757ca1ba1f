"""The composition root of firehose-backfill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from faststream.asgi import AsgiFastStream
from nats.aio.client import Client
from nats.js import JetStreamContext

from firehose_backfill import metrics
from firehose_backfill.cursor_store import CursorStore
from firehose_backfill.firehose_log import FirehoseLog
from firehose_backfill.frame_intake import FrameIntake
from firehose_backfill.judge import Judge
from firehose_backfill.keyring import Keyring
from firehose_backfill.letters import Letters
from firehose_backfill.live import LiveTail
from firehose_backfill.live_report import LiveReport
from firehose_backfill.pipeline import Pipeline
from firehose_backfill.relay import Relay
from firehose_backfill.relay_url import relay_origins
from firehose_backfill.settings import FirehoseSettings
from headwater.bus.publish import Publisher
from headwater.bus.streams import BUCKET_CURSORS, BUCKET_FIREHOSE, BUCKET_LEASES, BUCKET_WORKERS, apply_topology
from headwater.bus.subjects import live_subject
from headwater.dns_lookup import DnsLookup
from headwater.egress import EgressPolicy, egress_policy
from headwater.health import Readiness, health_routes
from headwater.http import GuardedHttp
from headwater.identity import IdentityResolver
from headwater.lease import Lease
from headwater.presence import Presence
from headwater.service import Tasks, asgi_app, nats_broker, watch_bus

SERVICE = "firehose-backfill"
# What a row's batch has around it: the commit's own fields.
_MESSAGE_OVERHEAD = 4096


def build(settings: FirehoseSettings, tasks: Tasks) -> AsgiFastStream:
    """The service as an ASGI application. Without a relay to follow it keeps its place on the bus and waits."""
    readiness = Readiness("nats")
    broker = nats_broker(settings, SERVICE)

    @asynccontextmanager
    async def work() -> AsyncIterator[None]:
        async with worker(settings, await broker.connect(), readiness, tasks):
            yield

    return asgi_app(broker, work, health_routes(SERVICE, readiness))


@asynccontextmanager
async def worker(
    settings: FirehoseSettings, client: Client, readiness: Readiness, tasks: Tasks
) -> AsyncIterator[LiveTail | None]:
    """Follow the relays within the context; None without relays. Leaving it saves the cursor.

    Raises InvariantError when another living process is the same worker.
    """
    js = client.jetstream()
    await apply_topology(js)
    async with (
        Lease(await js.key_value(BUCKET_LEASES), f"{SERVICE}.{settings.worker_id}") as lease,
        GuardedHttp(_policy(settings)) as http,
    ):
        letters = Letters(js)
        tail = await _live_tail(settings, client, js, http, letters)
        report = LiveReport(tail, FirehoseLog(await js.key_value(BUCKET_FIREHOSE)))
        workers = await js.key_value(BUCKET_WORKERS)
        figures = report.figures
        async with Presence(workers, SERVICE, settings.worker_id, settings.worker_count, readiness, figures=figures):
            tasks.start(watch_bus(client, readiness), "watch_bus")
            tasks.start(lease.run(), "lease")
            tasks.start(letters.run(), "dead letters")
            following: list[asyncio.Task[None]] = []
            if tail is not None:
                following = [tasks.start(tail.run(), "live tail"), tasks.start(report.run(), "live report")]
            try:
                yield tail
            finally:
                for task in following:
                    task.cancel()
                await asyncio.gather(*following, return_exceptions=True)
                await tasks.stop()


async def _live_tail(
    settings: FirehoseSettings, client: Client, js: JetStreamContext, http: GuardedHttp, letters: Letters
) -> LiveTail | None:
    relays = [Relay(http, origin) for origin in relay_origins(settings.relay_urls)]
    if not relays:
        return None
    selection = settings.selection()
    resolver = IdentityResolver(http, settings.plc_url, DnsLookup(), handle_resolver_url=settings.handle_resolver_url)
    keys = Keyring(resolver, settings.headwater_firehose_keys)
    metrics.LOOKUPS_WAITING.set_function(lambda: keys.waiting)
    publisher = Publisher(js, client.max_payload, waiting=_count_wait)
    judge = Judge(selection, letters, client.max_payload - _MESSAGE_OVERHEAD)
    return LiveTail(
        relays,
        _pipelines(judge, keys, publisher, settings.headwater_firehose_bytes),
        FrameIntake(selection, "live"),
        letters,
        CursorStore(await js.key_value(BUCKET_CURSORS)),
        FirehoseLog(await js.key_value(BUCKET_FIREHOSE)),
        settings.worker_id,
        settings.worker_count,
    )


def _pipelines(judge: Judge, keys: Keyring, publisher: Publisher, max_bytes: int) -> Callable[[str], Pipeline]:
    def make(relay: str) -> Pipeline:
        pipeline = Pipeline(judge, keys, publisher, relay, live_subject, max_bytes)
        metrics.IN_FLIGHT_BYTES.labels("live").set_function(lambda: pipeline.bytes)
        metrics.IN_FLIGHT_EVENTS.labels("live").set_function(lambda: len(pipeline.watermark))
        return pipeline

    return make


def _count_wait(cause: str) -> None:
    metrics.PUBLISH_WAITS.labels(cause).inc()


def _policy(settings: FirehoseSettings) -> EgressPolicy:
    origins = [url for url in (settings.plc_url, settings.handle_resolver_url) if url]
    origins += [str(origin) for origin in relay_origins(settings.relay_urls)]
    return egress_policy(allow_private_hosts=settings.allow_private_hosts, trusted_origins=origins)
