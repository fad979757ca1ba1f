"""An idle connection outlives the time for which clients keep one, so that no request goes out on a closing one."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI

from headwater.service import Server

LONGER_THAN_HTTPX_KEEPS_ONE_SECONDS = 6


async def test_an_idle_connection_answers_again() -> None:
    server = Server(FastAPI(), "127.0.0.1", 0)
    serving = asyncio.create_task(server.serve())
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for pause in (LONGER_THAN_HTTPX_KEEPS_ONE_SECONDS, 0):
            writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.partition(b":")[2]))
            await asyncio.sleep(pause)
        writer.close()
    finally:
        server.stop()
        await serving
