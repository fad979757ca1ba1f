"""A bus that is there and takes nothing more: who is told to stop does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import nats
import pytest
from nats.aio.client import Client

from headwater.bus.publish import ByteWindow, Publisher
from headwater.cancelling import cancel_and_wait

_INFO = b'INFO {"server_id":"S","version":"2.11.0","max_payload":8388608,"headers":true,"proto":1}\r\n'
# More than the client holds before it makes its callers wait, and than the machine keeps for a reader.
_MANY, _SIZE = 8, 4 << 20


@pytest.fixture
async def stalled() -> AsyncIterator[Client]:
    """Connected to a server that reads nothing after the greeting."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_INFO)
        await reader.readuntil(b"PING\r\n")
        writer.write(b"PONG\r\n")
        await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=4096)
    client = await nats.connect(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}", allow_reconnect=False)
    yield client
    done.set()
    server.close()
    with suppress(OSError):
        await client.close()


async def test_what_waits_for_its_bytes_to_go_out_ends_when_it_is_cancelled(
    stalled: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.cancelling.AGAIN_SECONDS", 0.2)
    publisher = Publisher(stalled.jetstream(), stalled.max_payload, ByteWindow(_MANY * _SIZE))

    async def publish() -> None:
        async with publisher.stream() as out:
            for number in range(_MANY):
                await out.send("subject", bytes(_SIZE), f"message {number}")

    publishing = asyncio.create_task(publish())
    while stalled.stats["out_msgs"] < _MANY:
        await asyncio.sleep(0)
    async with asyncio.timeout(100):
        await cancel_and_wait([publishing])
    assert publishing.cancelled()
