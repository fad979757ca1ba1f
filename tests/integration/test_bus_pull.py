"""Asking a consumer that is not there, or not any more, is an error: whoever asks again at once would never pause."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import APIError

from headwater.bus.pull import Pull
from headwater.bus.streams import STREAM_REQUESTS, request_consumer
from headwater.bus.subjects import RequestLane

CONSUMER = request_consumer(RequestLane.USER)


async def test_who_asks_a_consumer_that_is_not_there_is_told(client: Client, js: JetStreamContext) -> None:
    await js.delete_consumer(STREAM_REQUESTS, CONSUMER)
    async with Pull(client, STREAM_REQUESTS, CONSUMER, lambda _: None) as pull:
        for _ in range(2):
            with pytest.raises(APIError) as refused:
                await pull.ask(4)
            assert refused.value.code == 503


async def test_who_waits_for_one_that_is_deleted_is_told(client: Client, js: JetStreamContext) -> None:
    async with Pull(client, STREAM_REQUESTS, CONSUMER, lambda _: None) as pull:
        asked = asyncio.create_task(pull.ask(4))
        while (await js.consumer_info(STREAM_REQUESTS, CONSUMER)).num_waiting == 0:
            assert not asked.done()
        await js.delete_consumer(STREAM_REQUESTS, CONSUMER)
        with pytest.raises(APIError, match="Consumer Deleted"):
            await asked


async def test_what_is_there_comes_and_what_is_not_is_no_error(client: Client, js: JetStreamContext) -> None:
    came: list[Msg] = []
    async with Pull(client, STREAM_REQUESTS, CONSUMER, came.append) as pull:
        await js.publish("requests.user.a", b"1")
        await pull.ask(1)
        assert [message.data for message in came] == [b"1"]
        await pull.ask(1)
    assert len(came) == 1
