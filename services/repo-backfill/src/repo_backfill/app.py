"""The composition root of repo-backfill."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from faststream.asgi import AsgiFastStream
from nats.aio.client import Client
from nats.js import JetStreamContext

from headwater.bus.job_store import JobStore
from headwater.bus.publish import Publisher
from headwater.bus.streams import BUCKET_CONTROL, BUCKET_HOSTS, BUCKET_JOBS, BUCKET_WORKERS, apply_topology
from headwater.dns_lookup import DnsLookup
from headwater.egress import EgressPolicy, egress_policy
from headwater.health import Readiness, health_routes
from headwater.http import GuardedHttp
from headwater.identity import IdentityResolver
from headwater.presence import Presence
from headwater.service import Tasks, asgi_app, nats_broker, watch_bus
from repo_backfill import metrics
from repo_backfill.car_store import INDEX_BYTES, MemoryBudget
from repo_backfill.dead_letters import DeadLetters
from repo_backfill.host_reports import keep_reporting
from repo_backfill.hosts import HostLimiter
from repo_backfill.imports import Imports
from repo_backfill.indexer_client import IndexerClient
from repo_backfill.intake import JOBS_PER_FETCH, Intake
from repo_backfill.pds import CarLimits, PdsClient
from repo_backfill.settings import RepoBackfillSettings
from repo_backfill.signals import Switchboard
from repo_backfill.slots import Slots
from repo_backfill.tools import Tools

SERVICE = "repo-backfill"
_SHARE_OF_A_HOST = 0.25
"""Of a worker's jobs so many may wait for one host."""
_FEW_WAITING = 4
_STATES = ("resolving", "fetching", "published", "waiting", "failed", "cancelled")


def build(settings: RepoBackfillSettings, tasks: Tasks) -> AsgiFastStream:
    """The service as an ASGI application."""
    readiness = Readiness("nats")
    broker = nats_broker(settings, SERVICE)

    @asynccontextmanager
    async def work() -> AsyncIterator[None]:
        async with worker(settings, await broker.connect(), readiness, tasks):
            yield

    return asgi_app(broker, work, health_routes(SERVICE, readiness))


@asynccontextmanager
async def worker(
    settings: RepoBackfillSettings, client: Client, readiness: Readiness, tasks: Tasks
) -> AsyncIterator[Intake]:
    """Take requests and run their jobs within the context; leaving it gives back what is unfinished."""
    js = client.jetstream()
    await apply_topology(js)
    hosts = _host_limiter(settings)
    dns = DnsLookup()
    async with GuardedHttp(_policy(settings), lookup=dns) as http:
        tools = await _tools(settings, client, js, http, dns, hosts)
        intake = Intake(client, await js.key_value(BUCKET_CONTROL), tools, tasks)
        _measure(intake, tools, hosts)
        workers = await js.key_value(BUCKET_WORKERS)
        figures = _figures(intake, tools)
        async with Presence(workers, SERVICE, settings.worker_id, settings.worker_count, readiness, figures=figures):
            tasks.start(watch_bus(client, readiness), "watch_bus")
            tasks.start(tools.switchboard.run(), "signals")
            told = await js.key_value(BUCKET_HOSTS)
            tasks.start(keep_reporting(told, hosts, settings.worker_id), "host reports")
            intake.start()
            try:
                yield intake
            finally:
                await intake.stop()
                await tasks.stop()


async def _tools(
    settings: RepoBackfillSettings,
    client: Client,
    js: JetStreamContext,
    http: GuardedHttp,
    dns: DnsLookup,
    hosts: HostLimiter,
) -> Tools:
    bucket = await js.key_value(BUCKET_JOBS)
    jobs = JobStore(bucket)
    limits = CarLimits(
        settings.headwater_car_max_bytes, settings.headwater_fetch_seconds, settings.headwater_fetch_min_rate
    )
    concurrency = settings.headwater_fetch_concurrency
    return Tools(
        settings=settings,
        jobs=jobs,
        bucket=bucket,
        switchboard=Switchboard(client, jobs),
        indexer=IndexerClient(client),
        identities=IdentityResolver(http, settings.plc_url, dns, handle_resolver_url=settings.handle_resolver_url),
        pds=PdsClient(http, hosts, limits),
        imports=Imports(js),
        publisher=Publisher(js, client.max_payload, waiting=_count_wait),
        dead_letters=DeadLetters(js),
        budget=MemoryBudget(settings.headwater_car_memory_bytes),
        index_budget=MemoryBudget(INDEX_BYTES),
        fetching=Slots(concurrency, reserved=1 if concurrency > 1 else 0),
    )


def _policy(settings: RepoBackfillSettings) -> EgressPolicy:
    origins = [url for url in (settings.plc_url, settings.handle_resolver_url) if url]
    return egress_policy(allow_private_hosts=settings.allow_private_hosts, trusted_origins=origins)


def _count_wait(cause: str) -> None:
    metrics.PUBLISH_WAITS.labels(cause).inc()


def _host_limiter(settings: RepoBackfillSettings) -> HostLimiter:
    concurrency, workers = settings.headwater_fetch_concurrency, settings.worker_count
    return HostLimiter(
        rate=settings.headwater_host_rate,
        burst=settings.headwater_host_burst,
        # However slow a host is, others are fetched from beside it.
        connections=min(settings.headwater_host_connections, workers * max(1, concurrency // 2)),
        workers=workers,
        most_waiting=max(_FEW_WAITING, int(concurrency * JOBS_PER_FETCH * _SHARE_OF_A_HOST)),
    )


def _measure(intake: Intake, tools: Tools, hosts: HostLimiter) -> None:
    for state in _STATES:
        metrics.JOBS_HELD.labels(state).set_function(partial(_count, intake, state))
    metrics.CAR_MEMORY_BYTES.set_function(lambda: tools.budget.taken)
    metrics.HOSTS_PAUSED.set_function(lambda: hosts.paused)


def _count(intake: Intake, state: str) -> float:
    return intake.states()[state]


def _figures(intake: Intake, tools: Tools) -> Callable[[], dict[str, float]]:
    def figures() -> dict[str, float]:
        states = intake.states()
        return {
            "paused": float(intake.paused),
            "jobs_fetching": states["resolving"] + states["fetching"],
            "jobs_indexing": states["published"],
            "car_memory_bytes": tools.budget.taken,
        }

    return figures
