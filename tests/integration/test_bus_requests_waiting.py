"""Counting the requests that have not ended, on a real NATS server."""

from __future__ import annotations

import asyncio

import nats
import nats.errors
import pytest

from headwater.bus.requests_waiting import requests_waiting
from headwater.bus.streams import STREAM_REQUESTS, apply_topology, request_consumer
from headwater.bus.subjects import RequestLane, request_subject


async def test_a_request_counts_until_it_is_acknowledged_and_in_its_lane_only(nats_url: str) -> None:
    connection = await nats.connect(nats_url)
    try:
        js = connection.jetstream()
        await apply_topology(js)
        assert await requests_waiting(js, RequestLane.CRAWL) == 0
        subjects = [request_subject(RequestLane.CRAWL, f"did:web:a{number}.test") for number in range(300)]
        other = request_subject(RequestLane.USER, "did:web:b.test")
        await asyncio.gather(*(js.publish(subject, b"{}") for subject in (*subjects, other)))
        assert await requests_waiting(js, RequestLane.CRAWL) == 300, "as soon as the last PubAck is back"
        worker = await js.pull_subscribe_bind(request_consumer(RequestLane.CRAWL), stream=STREAM_REQUESTS)
        under_way = await worker.fetch(20)
        assert await requests_waiting(js, RequestLane.CRAWL) == 300
        await asyncio.gather(*(message.ack_sync() for message in under_way))
        assert await requests_waiting(js, RequestLane.CRAWL) == 280
        assert await requests_waiting(js, RequestLane.USER) == 1
    finally:
        await connection.close()


async def test_a_bus_without_the_stream_is_an_error_and_not_none(nats_url: str) -> None:
    connection = await nats.connect(nats_url)
    try:
        with pytest.raises(nats.errors.Error):
            await requests_waiting(connection.jetstream(), RequestLane.CRAWL)
    finally:
        await connection.close()
