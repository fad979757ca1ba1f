"""A relay that does nothing but send prebuilt frames, at full speed or at a rate, for benchmarks.

Prints one JSON line that describes it (relay_url, plc_url, load_url, frames, accounts), then serves until stopped.
Frames are sent once they are released, whoever listens; a consumer with a cursor gets what was released before, too.

GET  load_url  {frames, first_seq, released, sent, rate, started_at, rows, connected}: `sent` is how far the furthest
               consumer is, `rows` what the released frames leave behind in an empty table; frame i of a start (from 0)
               was released at started_at + i / rate (seconds since 1970)
POST load_url  {rate?, count?}: release so many more frames (all), at so many a second (at once)
POST load_url  {rewind: true}: nothing is released any more, consumers are disconnected
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from .host import as_json
from .load_frames import LoadFile, load_file
from .plc import PlcDirectory, PublicKey, did_document
from .reply import Reply
from .subscription import SUBSCRIBE_REPOS, first_of, until_closed
from .xrpc import Method, XrpcHost, limit_param, param

_LOAD = "/_load"
_TICK_S = 0.002
#: How soon it is noticed that a consumer has gone to whom nothing is sent.
_IDLE_S = 0.25
_CHUNK_BYTES = 256 * 1024
#: What waits in the process for one consumer; beyond it is the kernel's buffer.
_WAITING_BYTES = 4 << 20


class Schedule:
    """Which frames are released by now: those before `_base`, and since `started_at` at a rate up to `_limit`."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self.rate: float | None = None
        self.started_at = 0.0
        self._base = 0
        self._limit = 0

    def start(self, rate: float | None, count: int | None) -> None:
        """Release so many more (all), at so many a second (at once)."""
        self._base = self.released(time.time())
        self.rate, self.started_at = rate, time.time()
        self._limit = min(self._frames, self._frames if count is None else self._base + count)

    def rewind(self) -> None:
        self._base = self._limit = 0
        self.rate = None

    def is_over(self, now: float) -> bool:
        """Whether time alone releases no more."""
        return self.released(now) == self._limit

    def released(self, now: float) -> int:
        if self.rate is None:
            return self._limit
        return min(self._limit, self._base + max(0, int((now - self.started_at) * self.rate)))


class LoadRelay(XrpcHost):
    """The relay of a load."""

    def __init__(self, load: LoadFile, port: int = 0) -> None:
        super().__init__("load", port)
        self._load = load
        self._schedule = Schedule(len(load))
        self._sent = 0
        self._connected = 0
        self._generation = 0
        self._told = asyncio.Event()
        self._content = memoryview(load.open())
        listed: dict[str, Method] = {
            "com.atproto.sync.listRepos": self._list_repos,
            "com.atproto.sync.getRepoStatus": self._repo_status,
        }
        self.methods |= listed
        self.upgrades["/xrpc/" + SUBSCRIBE_REPOS] = self._subscribe

    async def respond(self, request: web.Request) -> Reply:
        if request.path != _LOAD:
            return await super().respond(request)
        if request.method == "POST":
            asked = json.loads(await request.text() or "{}")
            if asked.get("rewind"):
                self._schedule.rewind()
                self._sent = 0
                self._generation += 1
            else:
                self._schedule.start(asked.get("rate"), asked.get("count"))
            self._told.set()
        return as_json(self._state())

    def _state(self) -> dict[str, Any]:
        released = self._schedule.released(time.time())
        return {
            "frames": len(self._load),
            "first_seq": self._load.first_seq,
            "released": released,
            "sent": self._sent,
            "rate": self._schedule.rate,
            "started_at": self._schedule.started_at,
            "rows": self._load.rows[released - 1] if released else 0,
            "connected": self._connected,
        }

    async def _subscribe(self, request: web.Request) -> web.StreamResponse:
        released = self._schedule.released(time.time())
        cursor = request.query.get("cursor")
        place = released if cursor is None else min(max(0, int(cursor) - self._load.first_seq + 1), released)
        websocket = web.WebSocketResponse(compress=False)
        await websocket.prepare(request)
        assert request.transport is not None
        self._connected += 1
        try:
            with contextlib.suppress(ConnectionError):
                await first_of(until_closed(websocket), self._send(request.transport, place))
                await websocket.close()
        finally:
            self._connected -= 1
        return websocket

    async def _send(self, transport: asyncio.Transport, place: int) -> None:
        """Write released frames, as many at a time as the connection takes, until it is closed or rewound."""
        generation = self._generation
        while self._generation == generation and not transport.is_closing():
            released = self._schedule.released(time.time())
            if released == place and self._schedule.is_over(time.time()):
                await self._something_said()
                continue
            if released == place or transport.get_write_buffer_size() > _WAITING_BYTES:
                await asyncio.sleep(_TICK_S)
                continue
            start = self._load.start(place)
            behind = max(place + 1, min(released, self._load.place_within(start + _CHUNK_BYTES)))
            transport.write(self._content[start : self._load.start(behind)])
            place = behind
            self._sent = max(self._sent, place)
            await asyncio.sleep(0)

    async def _something_said(self) -> None:
        """Until a lever is pulled, or for a while: ticks would cost the machine what is measured on it."""
        self._told.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_S):
                await self._told.wait()

    async def _list_repos(self, request: web.Request) -> Reply:
        """Pages of the accounts; the cursor is a position."""
        limit, start = limit_param(request, 500, 1000), int(request.query.get("cursor", "0"))
        page = self._load.accounts[start : start + limit]
        repos = [{"did": one["did"], "head": one["head"], "rev": one["rev"], "active": True} for one in page]
        more = {"cursor": str(start + limit)} if start + limit < len(self._load.accounts) else {}
        return as_json({"repos": repos} | more)

    async def _repo_status(self, request: web.Request) -> Reply:
        return as_json({"did": param(request, "did"), "active": True})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulator.firehose_load", description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=100_000, help="number of frames (default: 100000)")
    parser.add_argument("--accounts", type=int, default=500, help="accounts that they are of (default: 500)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same frames (default: 0)")
    parser.add_argument(
        "--cache", type=Path, required=True, help="directory where the frames are kept for the next run"
    )
    asyncio.run(serve(parser.parse_args()))


async def serve(arguments: argparse.Namespace) -> None:
    """Build or read the frames, serve them and the accounts' DID documents, until SIGINT or SIGTERM."""
    load = load_file(arguments.cache, frames=arguments.frames, accounts=arguments.accounts, seed=arguments.seed)
    relay, plc = LoadRelay(load), PlcDirectory()
    for one in load.accounts:
        plc.register(one["did"], did_document(one["did"], one["handle"], PublicKey(one["multibase"]), relay.url))
    stopped = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    await relay.start()
    await plc.start()
    urls = {"relay_url": relay.url, "plc_url": plc.url, "load_url": relay.url + _LOAD}
    numbers = {"frames": len(load), "accounts": len(load.accounts), "bytes": load.ends[-1] if load.ends else 0}
    print(json.dumps(urls | numbers), flush=True)
    await stopped.wait()
    await relay.close()
    await plc.close()


if __name__ == "__main__":
    main()
