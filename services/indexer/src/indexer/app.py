"""The composition root of the indexer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from faststream.asgi import AsgiFastStream
from nats.aio.client import Client

from headwater.backoff import backoff_seconds
from headwater.bus.firehose_store import FirehoseStore
from headwater.bus.job_store import JobStore
from headwater.bus.messages import BackfillMessage, LiveBatch, decode_backfill, decode_live
from headwater.bus.streams import (
    BUCKET_CONTROL,
    BUCKET_FIREHOSE,
    BUCKET_JOBS,
    BUCKET_WORKERS,
    STREAM_BACKFILL,
    STREAM_LIVE,
    STREAM_REPLAY,
    apply_topology,
    backfill_consumer,
    live_consumer,
    replay_consumer,
)
from headwater.bus.subjects import owned_partitions
from headwater.cancelling import Group
from headwater.errors import TransientError
from headwater.health import Readiness, health_routes
from headwater.presence import Presence
from headwater.service import Tasks, asgi_app, nats_broker, watch_bus
from indexer import backfill_lane, live_lane
from indexer.answers import Answers
from indexer.counts import LONG_SECONDS, QUICK_SECONDS, Counts
from indexer.database import Database, translated
from indexer.dead_letters import DeadLetters
from indexer.figures import indexer_figures
from indexer.handlers import answer_questions, file_resyncs, obey_accounts
from indexer.lane import Lane, LaneConfig
from indexer.migrate import migrate
from indexer.ownership import Ownership
from indexer.privacy import Privacy
from indexer.purge import keep_purging
from indexer.records import Records
from indexer.resync import Resyncs
from indexer.retention import keep_forgetting
from indexer.right_of_way import Rests, RightOfWay
from indexer.settings import IndexerSettings
from indexer.wal import COMMITS_AT_ONCE, FLUSHES, Wal

log = logging.getLogger("indexer")

SERVICE = "indexer"
_STATEMENT_SECONDS = {"counts": QUICK_SECONDS, "long counts": LONG_SECONDS, "records": 9}
"""Connections of questions that may read many rows, and how long a statement of theirs may take."""
_CONNECTIONS = (
    "live",
    "replay",
    "backfill",
    "wal",
    "answers",
    "locks",
    "retention",
    "purge",
    "resync",
    "privacy",
    *_STATEMENT_SECONDS,
)
_WRITERS = ("live", "replay", "backfill", "purge", "privacy")
_SESSIONS = {"live": COMMITS_AT_ONCE, "replay": COMMITS_AT_ONCE, "wal": FLUSHES}


def build(settings: IndexerSettings, tasks: Tasks) -> AsgiFastStream:
    """The service as an ASGI application."""
    readiness = Readiness("nats", "postgres", "schema", "partitions")
    broker = nats_broker(settings, SERVICE)
    databases = {name: _database(settings, name) for name in _CONNECTIONS}
    answers = Answers(databases["answers"], settings.track)

    async def job_store() -> JobStore:
        return JobStore(await (await broker.connect()).jetstream().key_value(BUCKET_JOBS))

    async def max_payload() -> int:
        return (await broker.connect()).max_payload

    counts = Counts(databases["counts"], databases["long counts"])
    records = Records(databases["records"], max_payload)
    answer_questions(broker, answers, counts, records)
    file_resyncs(broker, answers)
    obey_accounts(broker, Privacy(databases["privacy"], answers, job_store))

    @asynccontextmanager
    async def work() -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for database in databases.values():
                stack.push_async_callback(database.close)
            stack.push_async_callback(counts.close)
            client = await broker.connect()
            js = client.jetstream()
            await apply_topology(js)
            tasks.start(watch_bus(client, readiness), "watch_bus")
            tasks.start(_work(settings, client, databases, readiness), "work")
            stack.push_async_callback(tasks.stop)
            bucket = await js.key_value(BUCKET_WORKERS)
            await stack.enter_async_context(
                Presence(
                    bucket, SERVICE, settings.worker_id, settings.worker_count, readiness, figures=indexer_figures()
                )
            )
            yield

    return asgi_app(broker, work, health_routes(SERVICE, readiness))


def _database(settings: IndexerSettings, name: str) -> Database:
    application = f"headwater {SERVICE} {settings.worker_id} {name}"
    seconds = _STATEMENT_SECONDS.get(name)
    return Database(
        settings.database_url,
        application,
        writes=name in _WRITERS,
        statement_seconds=seconds,
        session=_SESSIONS.get(name, {}),
    )


async def _work(
    settings: IndexerSettings, client: Client, databases: dict[str, Database], readiness: Readiness
) -> None:
    """Migrate, then take partitions and write, until cancelled."""
    await _migrate(databases["locks"], readiness)
    js = client.jetstream()
    dead = DeadLetters(js)
    wanted = owned_partitions(settings.worker_id, settings.worker_count)
    ownership = Ownership(databases["locks"], wanted, readiness)
    track = settings.track
    way, wal = RightOfWay(), Wal(databases["wal"])
    live = live_lane.LiveWriter(databases["live"], wal, dead, track=track)
    replay = live_lane.LiveWriter(databases["replay"], wal, dead, replayed=True, track=track, pause=way.give)
    jobs = JobStore(await js.key_value(BUCKET_JOBS))
    backfill = backfill_lane.BackfillWriter(databases["backfill"], jobs, dead, track, way.give)
    firehose = FirehoseStore(await js.key_value(BUCKET_CONTROL), await js.key_value(BUCKET_FIREHOSE))
    resyncs = Resyncs(databases["resync"], js, firehose)
    lanes = (
        Lane(_live_config(settings, live, way), client, ownership, dead),
        Lane(_replay_config(settings, replay), client, ownership, dead),
        Lane(_backfill_config(settings, backfill, Rests(way)), client, ownership, dead),
    )
    async with Group() as group:
        group.create_task(ownership.run(), name="ownership")
        for lane in lanes:
            group.create_task(lane.run())
        group.create_task(keep_purging(databases["purge"]), name="purge")
        group.create_task(resyncs.run(), name="resync")
        days = {"tombstone_days": settings.headwater_tombstone_days, "job_days": settings.headwater_job_days}
        group.create_task(keep_forgetting(databases["retention"], **days), name="retention")


async def _migrate(database: Database, readiness: Readiness) -> None:
    attempt = 0
    while True:
        try:
            connection = await database.connection()
            with translated():
                await migrate(connection)
        except TransientError as error:
            attempt += 1
            readiness.unmet("schema", f"Postgres does not answer: {error}")
            log.warning("not migrated yet: %s", error)
            await asyncio.sleep(backoff_seconds(attempt, cap=5.0))
        else:
            readiness.met("schema")
            return


def _live_config(settings: IndexerSettings, writer: live_lane.LiveWriter, way: RightOfWay) -> LaneConfig[LiveBatch]:
    return LaneConfig(
        name="live",
        stream=STREAM_LIVE,
        consumer=live_consumer,
        decode=decode_live,
        weigh=live_lane.weight,
        write=writer.write,
        group_rows=settings.headwater_indexer_group_rows,
        held_bytes=settings.headwater_indexer_live_bytes,
        begun=way.take,
        idle=way.leave,
    )


def _replay_config(settings: IndexerSettings, writer: live_lane.LiveWriter) -> LaneConfig[LiveBatch]:
    return LaneConfig(
        name="replay",
        stream=STREAM_REPLAY,
        consumer=replay_consumer,
        decode=decode_live,
        weigh=live_lane.weight,
        write=writer.write,
        group_rows=settings.headwater_indexer_group_rows,
        held_bytes=settings.headwater_indexer_replay_bytes,
        lingers=True,
    )


def _backfill_config(
    settings: IndexerSettings, writer: backfill_lane.BackfillWriter, rests: Rests
) -> LaneConfig[BackfillMessage]:
    return LaneConfig(
        name="backfill",
        stream=STREAM_BACKFILL,
        consumer=backfill_consumer,
        decode=decode_backfill,
        weigh=backfill_lane.weight,
        write=writer.write,
        group_rows=settings.headwater_indexer_group_rows,
        held_bytes=settings.headwater_indexer_backfill_bytes,
        lingers=True,
        hastens=backfill_lane.is_awaited,
        begun=rests.begin,
        rest=rests.rest,
        most_rows=rests.most_rows,
    )
