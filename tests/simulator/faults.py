"""What can go wrong with an answer, each a given number of times and never without end.

A fault applies to requests whose path contains `path` and, where `did` is given, that name this DID.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Literal, TypeVar

from aiohttp import web

from . import car, dagcbor
from .reply import Reply, send

Respond = Callable[[web.Request], Awaitable[Reply]]
GET_REPO = "com.atproto.sync.getRepo"

_PIECE = 64 * 1024
#: Long enough for the kernel to hand over what was written before the connection is cut.
_FLUSH_S = 0.05


@dataclass(kw_only=True)
class Fault(ABC):
    """Something scripted; happens `times` times (None: always)."""

    did: str | None = None
    path: str = GET_REPO
    times: int | None = 1

    def matches(self, request: web.Request) -> bool:
        named = self.did is None or self.did in request.path or self.did in request.query.values()
        return self.times != 0 and self.path in request.path and named

    def spend(self) -> None:
        if self.times is not None:
            self.times -= 1

    @abstractmethod
    async def answer(self, request: web.Request, respond: Respond) -> web.StreamResponse:
        """Answer in place of the host; `respond` gives what a healthy one would say."""


F = TypeVar("F", bound=Fault)


class Faults:
    """The faults of one host; the first that matches a request takes it."""

    def __init__(self) -> None:
        self._scripted: list[Fault] = []

    def add(self, fault: F) -> F:
        self._scripted.append(fault)
        return fault

    def clear(self) -> None:
        """Heal: forget all faults, and let those through who stand at a gate."""
        for fault in self._scripted:
            if isinstance(fault, Gate):
                fault.open()
        self._scripted.clear()

    def take(self, request: web.Request) -> Fault | None:
        for fault in self._scripted:
            if fault.matches(request):
                fault.spend()
                return fault
        return None


@dataclass(kw_only=True)
class Answer(Fault):
    """Another answer altogether: 429 or 5xx, with any headers, a document, a CAR of given bytes."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    async def answer(self, request: web.Request, respond: Respond) -> web.StreamResponse:
        return await send(request, Reply(self.body, self.content_type, self.status, self.headers))


@dataclass(kw_only=True)
class Redirect(Answer):
    """A redirect to `location`."""

    location: str = ""
    status: int = 302

    async def answer(self, request: web.Request, respond: Respond) -> web.StreamResponse:
        return await send(request, Reply(b"", "text/plain", self.status, {"Location": self.location}))


@dataclass(kw_only=True)
class FlipBit(Fault):
    """The true answer with one bit of the byte at `at` flipped; counts from the end where negative."""

    at: int

    async def answer(self, request: web.Request, respond: Respond) -> web.StreamResponse:
        reply = await respond(request)
        spoilt = bytearray(reply.content())
        spoilt[self.at] ^= 1
        return await send(request, replace(reply, body=bytes(spoilt)))


@dataclass(kw_only=True)
class Reset(Fault):
    """The connection is reset after `at` bytes of the body."""

    at: int

    async def answer(self, request: web.Request, respond: Respond) -> web.StreamResponse:
        reply = await respond(request)
        body = reply.content()
        response = await _begin(request, reply, content_length=len(body))
        await response.write(body[: self.at])
        await _cut(request, reset=True)
        return response


@dataclass(kw_only=True)
class Truncate(Fault):
    """Only the first `at` bytes; the declared length is that of the `whole` body, of this `part`, or `not` there."""

    at: int
    declare: Literal["whole", "part", "not"] = "whole"

    async def answer(self, request: web.Request, respond: Respond) -> web.StreamResponse:
        reply = await respond(request)
        body = reply.content()
        lengths = {"whole": len(body), "part": self.at, "not": None}
        response = await _begin(request, reply, content_length=lengths[self.declare])
        await response.write(body[: self.at])
        if self.declare == "whole":
            await _cut(request, reset=False)
        return response


@dataclass(kw_only=True)
class Slow(Fault):
    """The true answer at a few bytes a second, cut off after `max_seconds`."""

    bytes_per_s: int
    max_seconds: float = 60

    async def answer(self, request: web.Request, respond: Respond) -> web.StreamResponse:
        reply = await respond(request)
        body = reply.content()
        response = await _begin(request, reply, content_length=len(body))
        step = max(1, self.bytes_per_s // 10)
        for start in range(0, min(len(body), int(self.bytes_per_s * self.max_seconds)), step):
            await response.write(body[start : start + step])
            await asyncio.sleep(step / self.bytes_per_s)
        if len(body) > self.bytes_per_s * self.max_seconds:
            await _cut(request, reset=True)
        return response


@dataclass(kw_only=True)
class Endless(Fault):
    """The true CAR, followed by well-formed blocks that nothing points at, up to `limit` bytes."""

    limit: int = 4 << 30

    async def answer(self, request: web.Request, respond: Respond) -> web.StreamResponse:
        reply = await respond(request)
        response = await _begin(request, reply, content_length=None)
        await response.write(reply.content())
        sent, number = 0, 0
        while sent < self.limit:
            frames = bytearray()
            while len(frames) < _PIECE:
                number += 1
                block = dagcbor.encode({"n": number, "pad": b"\0" * 4096})
                frames += car.frame(dagcbor.DAG_CBOR_CID + sha256(block).digest(), block)
            await response.write(bytes(frames))
            sent += len(frames)
        return response


@dataclass(kw_only=True)
class GzipBomb(Fault):
    """`size` zero bytes, gzipped a thousand to one."""

    size: int = 1 << 30

    async def answer(self, request: web.Request, respond: Respond) -> web.StreamResponse:
        headers = {"Content-Encoding": "gzip"}
        bomb = Reply(b"", "application/vnd.ipld.car", 200, headers)
        response = await _begin(request, bomb, content_length=None)
        async for piece in _gzipped_zeros(self.size):
            await response.write(piece)
        return response


@dataclass(kw_only=True)
class Hang(Fault):
    """Nothing for `seconds`, not even headers; then the true answer."""

    seconds: float = 30

    async def answer(self, request: web.Request, respond: Respond) -> web.StreamResponse:
        await asyncio.sleep(self.seconds)
        return await send(request, await respond(request))


@dataclass(kw_only=True)
class Gate(Fault):
    """The true answer, held after `at` bytes (before the headers where None) until `open` or `max_seconds`.

    `reached` is set when a request stands at the gate: a test can do something in the middle of a fetch.
    """

    at: int | None = None
    max_seconds: float = 60
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    _opened: asyncio.Event = field(default_factory=asyncio.Event)

    def open(self) -> None:
        self._opened.set()

    async def answer(self, request: web.Request, respond: Respond) -> web.StreamResponse:
        if self.at is None:
            await self._wait()
            return await send(request, await respond(request))
        reply = await respond(request)
        body = reply.content()
        response = await _begin(request, reply, content_length=len(body))
        await response.write(body[: self.at])
        await self._wait()
        await response.write(body[self.at :])
        return response

    async def _wait(self) -> None:
        self.reached.set()
        try:
            await asyncio.wait_for(self._opened.wait(), self.max_seconds)
        except TimeoutError:
            return


async def _begin(request: web.Request, reply: Reply, *, content_length: int | None) -> web.StreamResponse:
    """Send the headers; chunked where no length is given."""
    response = web.StreamResponse(status=reply.status, headers=reply.all_headers())
    if content_length is None:
        response.enable_chunked_encoding()
    else:
        response.content_length = content_length
    await response.prepare(request)
    return response


async def _cut(request: web.Request, *, reset: bool) -> None:
    """Close the connection under an unfinished answer, with a RST where asked."""
    await asyncio.sleep(_FLUSH_S)
    transport = request.transport
    if transport is None:
        return
    if reset:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()


async def _gzipped_zeros(size: int) -> AsyncIterator[bytes]:
    compressor = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    for _ in range(size >> 20):
        piece = compressor.compress(zeros)
        if piece:
            yield piece
        await asyncio.sleep(0)
    yield compressor.flush()
