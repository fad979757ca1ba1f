"""The whole stack at a glance, for operators: workers, streams, lanes, jobs, cursors."""

from __future__ import annotations

from collections import Counter
from typing import Any

from nats.js.api import ConsumerInfo
from pydantic import BaseModel

from api_gateway.bus import Bus
from api_gateway.firehose_status import FirehoseStatus, firehose_status
from api_gateway.pause import is_paused
from headwater.bus.buckets import entries
from headwater.bus.streams import (
    STREAM_BACKFILL,
    STREAM_LIVE,
    STREAM_REPLAY,
    STREAM_REQUESTS,
    STREAMS,
    backfill_consumer,
    live_consumer,
    replay_consumer,
    request_consumer,
)
from headwater.bus.subjects import PARTITIONS, RequestLane
from headwater.health import Readiness
from headwater.presence import WorkerPresence, living_workers


class StreamStatus(BaseModel):
    """A stream. ``last_sequence`` only grows: its growth is the rate of what comes in."""

    stream: str
    messages: int
    bytes: int
    last_sequence: int


class LaneStatus(BaseModel):
    """A consumer's lag: messages that wait, and messages that a worker has and has not acknowledged."""

    lane: str
    partition: int | None = None
    waiting: int
    in_flight: int
    redelivered: int


class StackStatus(BaseModel):
    """What ``GET /api/admin/status`` answers."""

    ready: dict[str, str]
    repo_backfill: dict[str, bool]
    workers: list[WorkerPresence]
    streams: list[StreamStatus]
    requests: list[LaneStatus]
    lanes: list[LaneStatus]
    jobs: dict[str, int]
    cursors: dict[str, str]
    firehose: FirehoseStatus


async def stack_status(bus: Bus, readiness: Readiness) -> StackStatus:
    """Look everywhere once. Raises nats errors."""
    jobs = Counter(job.state.value for job in await bus.jobs.all_jobs())
    return StackStatus(
        ready=readiness.conditions,
        repo_backfill={"paused": await is_paused(bus)},
        workers=await living_workers(bus.workers),
        streams=[await _stream(bus, str(config.name)) for config in STREAMS],
        requests=await _requests(bus),
        lanes=await _lanes(bus),
        jobs=dict(jobs),
        cursors={key: value.decode("utf-8", "replace") for key, value in await entries(bus.cursors, ">")},
        firehose=await firehose_status(bus),
    )


async def _stream(bus: Bus, name: str) -> StreamStatus:
    state = (await bus.js.stream_info(name)).state
    return StreamStatus(stream=name, messages=state.messages, bytes=state.bytes, last_sequence=state.last_seq)


async def _requests(bus: Bus) -> list[LaneStatus]:
    found = await _consumers(bus, STREAM_REQUESTS)
    return [_lane(lane.value, None, found[request_consumer(lane)]) for lane in RequestLane]


async def _lanes(bus: Bus) -> list[LaneStatus]:
    lanes = (
        ("live", await _consumers(bus, STREAM_LIVE), live_consumer),
        ("replay", await _consumers(bus, STREAM_REPLAY), replay_consumer),
        ("backfill", await _consumers(bus, STREAM_BACKFILL), backfill_consumer),
    )
    return [_lane(name, p, found[consumer(p)]) for name, found, consumer in lanes for p in range(PARTITIONS)]


async def _consumers(bus: Bus, stream: str) -> dict[str, ConsumerInfo]:
    return {info.name: info for info in await bus.js.consumers_info(stream)}


def _lane(lane: str, partition: int | None, info: Any) -> LaneStatus:
    return LaneStatus(
        lane=lane,
        partition=partition,
        waiting=info.num_pending or 0,
        in_flight=info.num_ack_pending or 0,
        redelivered=info.num_redelivered or 0,
    )
