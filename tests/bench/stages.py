"""The parts of the path alone, one process and one core: what repo-backfill does with a CAR, and what the indexer does
with the messages."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import chain

import asyncpg
import nats
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from bench.results import Stages
from headwater.blocks import MemoryBlocks
from headwater.bus.messages import SnapshotBatch, decode_backfill, encode
from headwater.bus.publish import Publisher
from headwater.car import CarReader
from headwater.clock import now_us
from headwater.commit import parse_commit
from headwater.mst import verified_records
from indexer.batch import rows_of
from indexer.database import connect
from indexer.migrate import migrate
from indexer.table import copy_rows
from repo_backfill.snapshot import Batch, Scope, Snapshot

_CHUNK_BYTES = 64 * 1024
_MAX_ROW_BYTES = 8_000_000
_BATCHES_PER_TRANSACTION = 16
_STREAM = "BENCH"
_DATABASE = "bench_stages"


@dataclass
class Stopwatch:
    """Seconds by stage of one run."""

    seconds: dict[str, float]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of the block for a stage."""
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


async def measure_stages(car: bytes, did: str, records: int, rounds: int, database_url: str, nats_url: str) -> Stages:
    """Take one CAR through all stages, ``rounds`` times."""
    stages = Stages(records)
    client = await nats.connect(nats_url)
    try:
        for _ in range(rounds):
            produced, written = Stopwatch({}), Stopwatch({})
            payloads = _encoded(produced, _batches(produced, car), did)
            async with scratch_stream(client.jetstream()) as js:
                await _publish(produced, Publisher(js, client.max_payload), payloads)
            async with _scratch_database(database_url) as connection:
                await _write(written, connection, payloads)
            for kept, watch in ((stages.producer, produced), (stages.indexer, written)):
                for name, seconds in watch.seconds.items():
                    kept.setdefault(name, []).append(seconds)
    finally:
        await client.close()
    return stages


def _batches(watch: Stopwatch, car: bytes) -> list[Batch]:
    reader, blocks = CarReader(), MemoryBlocks()
    with watch.stage("CAR into blocks, each hashed"):
        for start in range(0, len(car), _CHUNK_BYTES):
            blocks.put_all(reader.feed(car[start : start + _CHUNK_BYTES]))
        root = reader.finish()
    with watch.stage("tree walked and verified"):
        commit = parse_commit(blocks.get(root))
        _, records = verified_records(blocks, commit.data)
    with watch.stage("records to JSON, in batches"):
        return list(Snapshot(blocks, records, Scope(None, False, now_us()), _MAX_ROW_BYTES))


def _encoded(watch: Stopwatch, batches: list[Batch], did: str) -> list[bytes]:
    with watch.stage("batches encoded"):
        return [
            encode(
                SnapshotBatch(
                    did=did,
                    rev="3" * 13,
                    job="bench",
                    attempt=1,
                    epoch=0,
                    whole=True,
                    batch=number,
                    put=batch.put,
                    held=batch.held,
                    keys=batch.keys,
                )
            )
            for number, batch in enumerate(batches)
        ]


async def _publish(watch: Stopwatch, publisher: Publisher, payloads: list[bytes]) -> None:
    with watch.stage("messages published and acknowledged"):
        async with publisher.stream() as out:
            for number, payload in enumerate(payloads):
                await out.send("bench.records", payload, f"bench/{number}")


async def _write(watch: Stopwatch, connection: asyncpg.Connection, payloads: list[bytes]) -> None:
    for start in range(0, len(payloads), _BATCHES_PER_TRANSACTION):
        with watch.stage("messages decoded"):
            batches = [decode_backfill(payload) for payload in payloads[start : start + _BATCHES_PER_TRANSACTION]]
        transaction = connection.transaction()
        await transaction.start()
        with watch.stage("COPY into the partitions and their indexes"):
            rows = (rows_of(b.did, b.rev, b.put) for b in batches if isinstance(b, SnapshotBatch))
            await copy_rows(connection, chain.from_iterable(rows))
        with watch.stage("commit"):
            await transaction.commit()


@asynccontextmanager
async def scratch_stream(js: JetStreamContext) -> AsyncIterator[JetStreamContext]:
    """A stream like those of records, which nobody reads."""
    config = StreamConfig(
        name=_STREAM,
        subjects=["bench.>"],
        retention=RetentionPolicy.WORK_QUEUE,
        discard=DiscardPolicy.NEW,
        storage=StorageType.FILE,
    )
    await js.add_stream(config)
    try:
        yield js
    finally:
        await js.delete_stream(_STREAM)


@asynccontextmanager
async def _scratch_database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the indexer's kind to a new database with its tables, all of them empty."""
    owner = await asyncpg.connect(database_url)
    try:
        await owner.execute(f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)")
        await owner.execute(f"CREATE DATABASE {_DATABASE}")
        schema = await asyncpg.connect(database_url, database=_DATABASE)
        await migrate(schema)
        await schema.close()
        connection = await connect(database_url.rpartition("/")[0] + f"/{_DATABASE}", "bench", writes=True)
        await owner.execute("CHECKPOINT")
        try:
            yield connection
        finally:
            await connection.close()
            await owner.execute(f"DROP DATABASE {_DATABASE} WITH (FORCE)")
    finally:
        await owner.close()
