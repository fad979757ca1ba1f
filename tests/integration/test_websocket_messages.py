"""Messages of a websocket: in order, without reading ahead, and silence noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from headwater.egress import egress_policy
from headwater.http import GuardedHttp
from headwater.http_messages import MessageStream
from misbehaving import failure

Handler = Callable[[web.WebSocketResponse], Awaitable[None]]


@asynccontextmanager
async def messages(
    handler: Handler, *, idle_timeout: float = 20.0, autoping: bool = True
) -> AsyncIterator[MessageStream]:
    """What ``handler`` sends."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, autoping=autoping)
        await socket.prepare(request)
        await handler(socket)
        return socket

    app = web.Application()
    app.router.add_get("/", handle)
    server = TestServer(app)
    await server.start_server()
    try:
        async with (
            GuardedHttp(egress_policy(allow_private_hosts=True)) as http,
            http.messages(str(server.make_url("/")), max_message=1000, idle_timeout=idle_timeout) as stream,
        ):
            yield stream
    finally:
        await asyncio.wait_for(server.close(), 60)


async def test_many_at_once_and_one_at_a_time() -> None:
    taken = asyncio.Event()

    async def send(socket: web.WebSocketResponse) -> None:
        for number in range(100):
            await socket.send_bytes(b"%d" % number)
        await taken.wait()
        await socket.send_str("text is passed over")
        await socket.ping(b"and so is this")
        await socket.send_bytes(b"the last")
        await socket.receive()

    async with messages(send) as stream:
        assert [await stream.receive() for _ in range(100)] == [b"%d" % number for number in range(100)]
        last = asyncio.create_task(stream.receive())
        await asyncio.sleep(0.05)
        assert not last.done()
        taken.set()
        assert await last == b"the last"


async def test_the_end_of_a_connection() -> None:
    async def send(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"one")
        await asyncio.sleep(0.1)

    async with messages(send) as stream:
        assert await stream.receive() == b"one"
        assert "closed" in (await failure(stream.receive())).detail
        assert "closed" in (await failure(stream.receive())).detail


async def test_whoever_answers_may_be_silent() -> None:
    async def send(socket: web.WebSocketResponse) -> None:
        for _ in range(2):
            assert (await socket.receive()).type is web.WSMsgType.PING
            await socket.pong()
        await socket.send_bytes(b"late")
        await socket.receive()

    # As long as a busy machine may stand still without the answer's being late.
    async with messages(send, idle_timeout=2.0, autoping=False) as stream:
        assert await stream.receive() == b"late"


async def test_whoever_does_not_answer_is_given_up() -> None:
    async def send(socket: web.WebSocketResponse) -> None:
        while (await socket.receive()).type is not web.WSMsgType.CLOSE:
            pass

    async with messages(send, idle_timeout=0.1, autoping=False) as stream:
        assert "silent" in (await failure(stream.receive())).detail


async def test_waiting_can_be_cancelled_and_begun_anew() -> None:
    go = asyncio.Event()

    async def send(socket: web.WebSocketResponse) -> None:
        await go.wait()
        await socket.send_bytes(b"one")
        await socket.receive()

    async with messages(send) as stream:
        waiting = asyncio.create_task(stream.receive())
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go.set()
        assert await stream.receive() == b"one"
