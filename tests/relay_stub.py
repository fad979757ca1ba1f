"""A relay that sends what the test gives it, byte for byte, and shows how much of it was taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer


class RelayStub:
    """Sends ``messages`` to whoever connects once they are ``released``, then keeps the connection open.

    ``taken`` counts those that the socket took.
    """

    def __init__(self, messages: Iterable[bytes]) -> None:
        self.messages = list(messages)
        self.taken = 0
        self.released = asyncio.Event()
        self.released.set()
        self.cursors: list[str | None] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        self.cursors.append(request.query.get("cursor"))
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await self.released.wait()
        for message in self.messages:
            await socket.send_bytes(message)
            self.taken += 1
        await socket.receive()
        return socket


@asynccontextmanager
async def relay_stub(messages: Iterable[bytes]) -> AsyncIterator[RelayStub]:
    stub = RelayStub(messages)
    app = web.Application()
    app.router.add_get("/xrpc/com.atproto.sync.subscribeRepos", stub.handle)
    server = TestServer(app)
    await server.start_server()
    stub.url = str(server.make_url("")).rstrip("/")
    try:
        yield stub
    finally:
        await asyncio.wait_for(server.close(), 60)
