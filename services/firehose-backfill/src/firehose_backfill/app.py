"""The composition root of firehose-backfill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from faststream.asgi import AsgiFastStream
from nats.aio.client import Client
from nats.js import JetStreamContext

from firehose_backfill import metrics
from firehose_backfill.crawl import CrawlTools
from firehose_backfill.cursor_store import CursorStore
from firehose_backfill.filing import Filing
from firehose_backfill.firehose_log import FirehoseLog
from firehose_backfill.frame_intake import FrameIntake
from firehose_backfill.history import History
from firehose_backfill.judge import Judge
from firehose_backfill.keyring import Keyring
from firehose_backfill.letters import Letters
from firehose_backfill.listing import host_origin
from firehose_backfill.listing_client import ListingClient
from firehose_backfill.live import LiveTail
from firehose_backfill.live_report import LiveReport
from firehose_backfill.outcomes import Outcomes
from firehose_backfill.pipeline import Pipeline
from firehose_backfill.plan import take_up_plan
from firehose_backfill.relay import Relay
from firehose_backfill.relay_url import relay_origins
from firehose_backfill.replay import Replay, ReplayTools
from firehose_backfill.selection import Selection, split_list
from firehose_backfill.settings import FirehoseSettings
from firehose_backfill.statuses import Statuses
from firehose_backfill.table import Table
from headwater.bus.firehose_store import FirehoseStore
from headwater.bus.job_store import JobStore
from headwater.bus.publish import Publisher
from headwater.bus.streams import (
    BUCKET_CONTROL,
    BUCKET_CURSORS,
    BUCKET_FIREHOSE,
    BUCKET_JOBS,
    BUCKET_LEASES,
    BUCKET_WORKERS,
    apply_topology,
)
from headwater.bus.subjects import live_subject, replay_subject
from headwater.cancelling import cancel_and_wait
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
        tools = _tools(settings, client, js, http)
        tail = None if not tools.relays else await _live_tail(settings, js, tools)
        report = LiveReport(tail, FirehoseLog(await js.key_value(BUCKET_FIREHOSE)))
        workers = await js.key_value(BUCKET_WORKERS)
        figures = report.figures
        async with Presence(workers, SERVICE, settings.worker_id, settings.worker_count, readiness, figures=figures):
            tasks.start(watch_bus(client, readiness), "watch_bus")
            tasks.start(lease.run(), "lease")
            tasks.start(tools.letters.run(), "dead letters")
            following: list[asyncio.Task[None]] = []
            if tail is not None:
                following = [tasks.start(tail.run(), "live tail"), tasks.start(report.run(), "live report")]
                if settings.worker_id == 0:
                    following.append(tasks.start((await _history(settings, client, js, tools)).run(), "history"))
            try:
                yield tail
            finally:
                await cancel_and_wait(following)
                await tasks.stop()


@dataclass(frozen=True)
class _Tools:
    """What the live tail and the history share."""

    http: GuardedHttp
    relays: list[Relay]
    letters: Letters
    resolver: IdentityResolver
    keys: Keyring
    publisher: Publisher
    judge: Judge
    max_bytes: int

    def pipelines(self, lane: str, subject: Callable[[str], str]) -> Callable[[str], Pipeline]:
        """Makes pipelines onto a lane, for a relay's name."""

        def make(relay: str) -> Pipeline:
            pipeline = Pipeline(self.judge, self.keys, self.publisher, relay, subject, self.max_bytes)
            metrics.IN_FLIGHT_BYTES.labels(lane).set_function(lambda: pipeline.bytes)
            metrics.IN_FLIGHT_EVENTS.labels(lane).set_function(lambda: len(pipeline.watermark))
            return pipeline

        return make


def _tools(settings: FirehoseSettings, client: Client, js: JetStreamContext, http: GuardedHttp) -> _Tools:
    letters = Letters(js)
    resolver = IdentityResolver(http, settings.plc_url, DnsLookup(), handle_resolver_url=settings.handle_resolver_url)
    keys = Keyring(resolver, settings.headwater_firehose_keys)
    metrics.LOOKUPS_WAITING.set_function(lambda: keys.waiting)
    return _Tools(
        http=http,
        relays=[Relay(http, origin) for origin in relay_origins(settings.relay_urls)],
        letters=letters,
        resolver=resolver,
        keys=keys,
        publisher=Publisher(js, client.max_payload, waiting=_count_wait),
        judge=Judge(settings.selection(), letters, client.max_payload - _MESSAGE_OVERHEAD),
        max_bytes=settings.headwater_firehose_bytes,
    )


async def _live_tail(settings: FirehoseSettings, js: JetStreamContext, tools: _Tools) -> LiveTail:
    return LiveTail(
        tools.relays,
        tools.pipelines("live", live_subject),
        FrameIntake(settings.selection(), "live"),
        tools.letters,
        CursorStore(await js.key_value(BUCKET_CURSORS)),
        FirehoseLog(await js.key_value(BUCKET_FIREHOSE)),
        settings.worker_id,
        settings.worker_count,
    )


async def _history(settings: FirehoseSettings, client: Client, js: JetStreamContext, tools: _Tools) -> History:
    control, firehose = await js.key_value(BUCKET_CONTROL), await js.key_value(BUCKET_FIREHOSE)
    store = FirehoseStore(control, firehose)
    await take_up_plan(control, store, settings.backfill_days)
    excluded = frozenset(split_list(settings.exclude_dids))
    # The primary worker replays the accounts of all workers.
    everybody = Selection(0, 1, settings.collection_filter, excluded)
    replay = Replay(
        ReplayTools(
            relays=tools.relays,
            make_pipeline=tools.pipelines("replay", replay_subject),
            intake=FrameIntake(everybody, "replay"),
            letters=tools.letters,
            cursors=await js.key_value(BUCKET_CURSORS),
            store=store,
        )
    )
    table = Table(client)
    crawls = CrawlTools(
        lists=ListingClient(tools.http),
        filing=Filing(js),
        table=table,
        store=store,
        relays=[str(relay.origin).rstrip("/") for relay in tools.relays],
        host_origin=partial(host_origin, private=settings.allow_private_hosts),
        excluded=excluded,
        max_waiting=settings.headwater_crawl_waiting,
    )

    async def pds_of(did: str) -> str | None:
        return (await tools.resolver.resolve_did(did, refresh=True)).pds

    statuses = Statuses(table, tools.publisher, tools.http, pds_of, excluded)
    return History(js, store, replay, crawls, Outcomes(JobStore(await js.key_value(BUCKET_JOBS))), statuses)


def _count_wait(cause: str) -> None:
    metrics.PUBLISH_WAITS.labels(cause).inc()


def _policy(settings: FirehoseSettings) -> EgressPolicy:
    origins = [url for url in (settings.plc_url, settings.handle_resolver_url) if url]
    origins += [str(origin) for origin in relay_origins(settings.relay_urls)]
    return egress_policy(allow_private_hosts=settings.allow_private_hosts, trusted_origins=origins)
