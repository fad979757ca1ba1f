"""Servers on loopback that misbehave on purpose, and how the guarded client is asked in tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from headwater.errors import InvalidInputError, Reason, TransientError
from headwater.http import GuardedHttp

MIB = 1024 * 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RawHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A web server on a free loopback port; yields its origin."""
    application = web.Application()
    application.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serving_raw(handler: RawHandler) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A TCP server that reads a request's head, then calls the handler; yields its port and the heads seen."""
    heads: list[bytes] = []
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(b"")
        try:
            heads[-1] = await reader.readuntil(b"\r\n\r\n")
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heads
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections)


def answering(head: bytes, body: bytes = b"") -> RawHandler:
    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body)
        await writer.drain()

    return handler


async def fetch(
    http: GuardedHttp,
    url: str,
    *,
    total_timeout: float = 20.0,
    idle_timeout: float = 20.0,
    min_rate: float = 0.0,
    rate_window: float = 20.0,
) -> bytes:
    async with http.stream(
        url,
        max_bytes=MIB,
        total_timeout=total_timeout,
        idle_timeout=idle_timeout,
        min_rate=min_rate,
        rate_window=rate_window,
    ) as answer:
        return await answer.read()


async def refusal(attempt: Awaitable[object]) -> Reason:
    with pytest.raises(InvalidInputError) as caught:
        await attempt
    return caught.value.reason


async def failure(attempt: Awaitable[object]) -> TransientError:
    with pytest.raises(TransientError) as caught:
        await attempt
    return caught.value
