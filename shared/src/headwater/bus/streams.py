"""Every stream, consumer and bucket, declared in one place and applied by ``apply_topology``.

All services apply it at start; where it stands already nothing happens. nats-py binds an existing durable without
updating it, so differences are found here, reported, and mended where JetStream allows it.
"""

from __future__ import annotations

import asyncio
import logging

from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    KeyValueConfig,
    ObjectStoreConfig,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, NotFoundError

from headwater.bus import subjects
from headwater.bus.server_version import check_server_version
from headwater.bus.subjects import PARTITIONS, RequestLane

log = logging.getLogger("headwater.bus")

STREAM_LIVE = "RECORDS_LIVE"
STREAM_REPLAY = "RECORDS_REPLAY"
STREAM_BACKFILL = "RECORDS_BACKFILL"
STREAM_REQUESTS = "REQUESTS"
STREAM_DEAD_LETTERS = "DEAD_LETTERS"

BUCKET_JOBS = "jobs"
BUCKET_CURSORS = "cursors"
BUCKET_FIREHOSE = "firehose"
BUCKET_CONTROL = "control"
BUCKET_WORKERS = "workers"
BUCKET_LEASES = "leases"
BUCKET_TOKENS = "tokens"
BUCKET_LOGINS = "logins"
BUCKET_SESSIONS = "sessions"
BUCKET_OPERATORS = "operators"
BUCKET_HOSTS = "hosts"
OBJECTS_IMPORTS = "imports"

_MIB = 1024 * 1024
ACK_WAIT_SECONDS = 10.0
LEASE_SECONDS = 6
REQUEST_ACK_WAIT_SECONDS = 10.0
"""How soon the request of a worker that died goes to another one."""

STREAMS: tuple[StreamConfig, ...] = (
    StreamConfig(
        name=STREAM_LIVE,
        description="verified commits from the firehose, by partition",
        subjects=[f"{subjects.RECORDS_LIVE}.*"],
        retention=RetentionPolicy.WORK_QUEUE,
        discard=DiscardPolicy.NEW,
        storage=StorageType.FILE,
        max_bytes=1024 * _MIB,
        duplicate_window=120,
    ),
    StreamConfig(
        name=STREAM_REPLAY,
        description="verified commits that the relay still held, by partition",
        subjects=[f"{subjects.RECORDS_REPLAY}.*"],
        retention=RetentionPolicy.WORK_QUEUE,
        discard=DiscardPolicy.NEW,
        storage=StorageType.FILE,
        max_bytes=512 * _MIB,
        duplicate_window=120,
    ),
    StreamConfig(
        name=STREAM_BACKFILL,
        description="snapshots of repos, by partition",
        subjects=[f"{subjects.RECORDS_BACKFILL}.*"],
        retention=RetentionPolicy.WORK_QUEUE,
        discard=DiscardPolicy.NEW,
        storage=StorageType.FILE,
        # A few seconds of what the indexer writes: when it rests, whoever fetches repos rests too.
        max_bytes=64 * _MIB,
        duplicate_window=120,
    ),
    StreamConfig(
        name=STREAM_REQUESTS,
        description="repos to fetch; at most one request per lane and account",
        subjects=[f"{subjects.REQUESTS}.*.*"],
        retention=RetentionPolicy.WORK_QUEUE,
        discard=DiscardPolicy.NEW,
        discard_new_per_subject=True,
        max_msgs_per_subject=1,
        allow_direct=True,
        storage=StorageType.FILE,
        duplicate_window=120,
    ),
    StreamConfig(
        name=STREAM_DEAD_LETTERS,
        description="what could not be used, by kind and reason",
        subjects=[f"{subjects.DEAD_LETTERS}.*.*"],
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        storage=StorageType.FILE,
        max_bytes=512 * _MIB,
        max_age=30 * 86_400,
        duplicate_window=120,
    ),
)

BUCKETS: tuple[KeyValueConfig, ...] = (
    KeyValueConfig(
        bucket=BUCKET_JOBS, description="jobs, in parts", ttl=30 * 86_400, storage=StorageType.FILE, direct=True
    ),
    KeyValueConfig(bucket=BUCKET_CURSORS, description="firehose cursors", storage=StorageType.FILE),
    KeyValueConfig(
        bucket=BUCKET_FIREHOSE, description="progress and gaps of the firehose", storage=StorageType.FILE, direct=True
    ),
    KeyValueConfig(bucket=BUCKET_CONTROL, description="what operators switched", storage=StorageType.FILE),
    KeyValueConfig(bucket=BUCKET_WORKERS, description="which workers live", ttl=10, storage=StorageType.FILE),
    KeyValueConfig(
        bucket=BUCKET_LEASES, description="which process is which worker", ttl=LEASE_SECONDS, storage=StorageType.FILE
    ),
    KeyValueConfig(
        # Longer than a token can be good for (an hour, and clocks that differ).
        bucket=BUCKET_TOKENS,
        description="service-auth tokens seen, against replay",
        ttl=3_900,
        storage=StorageType.FILE,
    ),
    KeyValueConfig(
        # In memory: what it holds is secret for ten minutes, and worthless after.
        bucket=BUCKET_LOGINS,
        description="logins that wait for their callback",
        ttl=600,
        storage=StorageType.MEMORY,
    ),
    KeyValueConfig(
        bucket=BUCKET_SESSIONS, description="browsers that are logged in", ttl=7 * 86_400, storage=StorageType.FILE
    ),
    KeyValueConfig(
        bucket=BUCKET_OPERATORS, description="operators' browsers", ttl=12 * 3_600, storage=StorageType.FILE
    ),
    KeyValueConfig(
        # In memory: each worker says it anew every few seconds.
        bucket=BUCKET_HOSTS,
        description="what each repo-backfill worker knows of PDSes",
        ttl=30,
        storage=StorageType.MEMORY,
    ),
)


def live_consumer(partition: int) -> str:
    """The durable name of the indexer's consumer of one partition's live lane."""
    return f"indexer-live-{partition}"


def replay_consumer(partition: int) -> str:
    """The durable name of the indexer's consumer of one partition's replay lane."""
    return f"indexer-replay-{partition}"


def backfill_consumer(partition: int) -> str:
    """The durable name of the indexer's consumer of one partition's backfill lane."""
    return f"indexer-backfill-{partition}"


def request_consumer(lane: RequestLane) -> str:
    """The durable name of the consumer that all repo-backfill workers share for one lane."""
    return f"repo-backfill-{lane.value}"


def consumers() -> list[tuple[str, ConsumerConfig]]:
    """Every durable consumer with the name of its stream."""
    declared: list[tuple[str, ConsumerConfig]] = []
    for p in range(PARTITIONS):
        declared.append((STREAM_LIVE, _durable(live_consumer(p), f"{subjects.RECORDS_LIVE}.{p}", 1_000)))
        declared.append((STREAM_REPLAY, _durable(replay_consumer(p), f"{subjects.RECORDS_REPLAY}.{p}", 1_000)))
        declared.append((STREAM_BACKFILL, _durable(backfill_consumer(p), f"{subjects.RECORDS_BACKFILL}.{p}", 1_000)))
    declared.extend(
        (
            STREAM_REQUESTS,
            _durable(request_consumer(lane), f"{subjects.REQUESTS}.{lane}.*", 10_000, REQUEST_ACK_WAIT_SECONDS),
        )
        for lane in RequestLane
    )
    return declared


def _durable(name: str, subject: str, max_ack_pending: int, ack_wait: float = ACK_WAIT_SECONDS) -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=name,
        filter_subject=subject,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait,
        max_ack_pending=max_ack_pending,
        max_deliver=-1,
    )


async def apply_topology(js: JetStreamContext) -> list[str]:
    """Declare all that is missing and mend what differs. Returns the differences found, for people.

    Several services may do this at once. Raises APIError when the server refuses a declaration, and InvariantError when
    it is too old.
    """
    version = js._nc.connected_server_version  # noqa: SLF001
    check_server_version(version.major, version.minor)
    drift: list[str] = []
    for stream in STREAMS:
        drift += await _apply_stream(js, stream)
    for bucket in BUCKETS:
        await _apply_bucket(js, bucket)
    try:
        await js.object_store(OBJECTS_IMPORTS)
    except NotFoundError:
        await js.create_object_store(OBJECTS_IMPORTS, config=ObjectStoreConfig(description="CAR files to import"))
    pending = [_apply_consumer(js, stream, config) for stream, config in consumers()]
    for found in await asyncio.gather(*pending):
        drift += found
    for line in drift:
        log.warning("topology drift: %s", line)
    return drift


async def _apply_stream(js: JetStreamContext, config: StreamConfig) -> list[str]:
    try:
        info = await js.stream_info(str(config.name))
    except NotFoundError:
        await js.add_stream(config)
        return []
    found = _differences(f"stream {config.name}", config, info.config)
    if found:
        await js.update_stream(config)
    return found


async def _apply_bucket(js: JetStreamContext, config: KeyValueConfig) -> None:
    try:
        await js.key_value(config.bucket)
    except NotFoundError:
        await js.create_key_value(config)


async def _apply_consumer(js: JetStreamContext, stream: str, config: ConsumerConfig) -> list[str]:
    try:
        info = await js.consumer_info(stream, str(config.durable_name))
    except NotFoundError:
        await js.add_consumer(stream, config)
        return []
    found = _differences(f"consumer {config.durable_name}", config, info.config)
    if found:
        await js.add_consumer(stream, config)
    return found


def _differences(name: str, wanted: object, actual: object) -> list[str]:
    found = []
    for field, value in vars(wanted).items():
        there = getattr(actual, field, None)
        if value is not None and there != value and not (not value and not there):
            found.append(f"{name}: {field} is {there!r}, declared {value!r}")
    return found


def stream_is_full(error: APIError) -> bool:
    """Whether a publish was refused because the stream is full (back-pressure: wait and publish again)."""
    return error.err_code == 10077


def subject_is_taken(error: APIError) -> bool:
    """Whether a request was refused because one for the same lane and account waits already."""
    return error.err_code == 10077 and "subject" in (error.description or "")
