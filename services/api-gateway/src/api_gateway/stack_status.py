"""The whole stack at a glance, for operators: workers, streams, lanes, jobs, cursors."""

from __future__ import annotations

import asyncio
from typing import Final

from nats.js.api import ConsumerInfo
from pydantic import BaseModel, Field

from api_gateway.bus import Bus
from api_gateway.firehose_status import FirehoseStatus, firehose_status
from api_gateway.job_index import JobIndex
from api_gateway.pause import is_paused
from api_gateway.rates import Rates
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

_LANES: Final = (("live", live_consumer), ("replay", replay_consumer), ("backfill", backfill_consumer))


class StreamStatus(BaseModel):
    """A stream. ``last_sequence`` only grows: its growth is the rate of what comes in.

    Rates are since a look of the last half minute; null where there was none.
    """

    stream: str
    messages: int
    bytes: int
    last_sequence: int
    messages_per_second: float | None = Field(None, description="what comes in")


class LaneStatus(BaseModel):
    """A consumer's lag: messages that wait, and messages that a worker has and has not acknowledged."""

    lane: str
    partition: int | None = None
    waiting: int
    in_flight: int
    redelivered: int
    messages_per_second: float | None = Field(None, description="what is acknowledged")


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


async def stack_status(bus: Bus, readiness: Readiness, jobs: JobIndex, seen: Rates) -> StackStatus:
    """Look everywhere once. Raises nats errors."""
    streams = await asyncio.gather(*(_stream(bus, str(config.name)) for config in STREAMS))
    consumers = await _consumers(bus)
    totals = {stream.stream: stream.last_sequence for stream in streams}
    totals |= {name: info.ack_floor.consumer_seq for name, info in consumers.items() if info.ack_floor is not None}
    rates = seen.look(totals)
    return StackStatus(
        ready=readiness.conditions,
        repo_backfill={"paused": await is_paused(bus)},
        workers=await living_workers(bus.workers),
        streams=[one.model_copy(update={"messages_per_second": rates.get(one.stream)}) for one in streams],
        requests=[_lane(lane.value, None, consumers[request_consumer(lane)], rates) for lane in RequestLane],
        lanes=[_lane(name, p, consumers[name_of(p)], rates) for name, name_of in _LANES for p in range(PARTITIONS)],
        jobs={state.value: count for state, count in (await jobs.counts()).items()},
        cursors={key: value.decode("utf-8", "replace") for key, value in await entries(bus.cursors, ">")},
        firehose=await firehose_status(bus),
    )


async def _stream(bus: Bus, name: str) -> StreamStatus:
    state = (await bus.js.stream_info(name)).state
    return StreamStatus(stream=name, messages=state.messages, bytes=state.bytes, last_sequence=state.last_seq)


async def _consumers(bus: Bus) -> dict[str, ConsumerInfo]:
    names = (STREAM_LIVE, STREAM_REPLAY, STREAM_BACKFILL, STREAM_REQUESTS)
    found = await asyncio.gather(*(bus.js.consumers_info(name) for name in names))
    return {info.name: info for infos in found for info in infos}


def _lane(lane: str, partition: int | None, info: ConsumerInfo, rates: dict[str, float]) -> LaneStatus:
    return LaneStatus(
        lane=lane,
        partition=partition,
        waiting=info.num_pending or 0,
        in_flight=info.num_ack_pending or 0,
        redelivered=info.num_redelivered or 0,
        messages_per_second=rates.get(info.name),
    )
