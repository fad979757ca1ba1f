"""A response body from a stranger: bounded in size, in time and in patience.

Against each way of wasting a worker there is one bound: endless bodies (``max_bytes``, on the wire and
decompressed), silence (``idle_timeout``), trickles (``min_rate`` over ``rate_window``) and everything else
(``total_timeout``).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import aiohttp

from headwater.errors import InvalidInputError, Reason, TransientError

NETWORK_ERRORS = (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, TimeoutError, OSError)
"""What aiohttp lets out when a connection or a peer misbehaves."""

_READ_SIZE = 256 * 1024
_CHUNK_SIZE = 64 * 1024
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bounds on one response, in bytes, seconds and bytes per second.

    ``too_large`` is the reason with which a longer body is refused.
    """

    max_bytes: int
    total_timeout: float
    idle_timeout: float = 30.0
    min_rate: float = 1024.0
    rate_window: float = 30.0
    too_large: Reason = Reason.CAR_TOO_LARGE

    def check_size(self, size: int) -> None:
        """Refuse a body of this many bytes if it is too long, with InvalidInputError(too_large)."""
        if size > self.max_bytes:
            raise InvalidInputError(self.too_large, f"response exceeds {self.max_bytes} bytes")


class Pace:
    """How fast the other side sends, measured over windows of waiting time alone.

    Time in which our side was busy is not held against the host.
    """

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._waited = 0.0
        self._received = 0

    def add(self, size: int, waited: float) -> None:
        """Count ``size`` bytes for which we waited so many seconds; raises TransientError for a trickle."""
        self._received += size
        self._waited += waited
        if self._waited < self._limits.rate_window:
            return
        if self._received < self._limits.min_rate * self._waited:
            raise TransientError(f"too slow: {self._received} bytes in {self._waited:.1f} s")
        self._waited = 0.0
        self._received = 0


class Decompressor:
    """gzip or zlib undone in steps of bounded size. Source: RFC 1950, RFC 1952, RFC 9110 section 8.4.1."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)

    def steps(self, compressed: bytes) -> Iterator[bytes]:
        """What the bytes decompress to, at most 256 KiB at a time.

        Raises InvalidInputError(RESPONSE_MALFORMED) for broken data and for bytes behind the end.
        """
        pending = compressed
        while pending:
            piece = self._step(pending)
            if self._zlib.unused_data:
                raise InvalidInputError(Reason.RESPONSE_MALFORMED, "bytes after the compressed body")
            pending = self._zlib.unconsumed_tail
            if piece:
                yield piece

    def finish(self) -> Iterator[bytes]:
        """What was held back; raises TransientError when the compressed body ended too early."""
        while not self._zlib.eof:
            piece = self._step(b"")
            if not piece:
                raise TransientError("truncated compressed body")
            yield piece

    def _step(self, pending: bytes) -> bytes:
        try:
            return self._zlib.decompress(pending, _READ_SIZE)
        except zlib.error as error:
            raise InvalidInputError(Reason.RESPONSE_MALFORMED, "broken compression") from error


def decompressor_for(content_encoding: str | None) -> Decompressor | None:
    """What undoes a Content-Encoding; None for identity. Raises InvalidInputError(RESPONSE_MALFORMED)."""
    match (content_encoding or "identity").strip().lower():
        case "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return Decompressor()
        case other:
            raise InvalidInputError(Reason.RESPONSE_MALFORMED, f"content encoding {other[:40]}")


async def read_chunks(response: aiohttp.ClientResponse, limits: BodyLimits, deadline: float) -> AsyncIterator[bytes]:
    """The decoded body in chunks of about 64 to 256 KiB (the last may be smaller).

    ``deadline`` is in the running loop's time. Raises InvalidInputError(limits.too_large or
    RESPONSE_MALFORMED) and TransientError (slow, silent, truncated, reset).
    """
    decompressor = decompressor_for(response.headers.get("Content-Encoding"))
    limits.check_size(response.content_length or 0)
    decoded_size = 0
    gathered: list[bytes] = []
    gathered_size = 0
    async for piece in _decoded(response, limits, deadline, decompressor):
        decoded_size += len(piece)
        limits.check_size(decoded_size)
        gathered.append(piece)
        gathered_size += len(piece)
        if gathered_size >= _CHUNK_SIZE:
            yield b"".join(gathered)
            gathered.clear()
            gathered_size = 0
    if gathered:
        yield b"".join(gathered)


async def _decoded(
    response: aiohttp.ClientResponse, limits: BodyLimits, deadline: float, decompressor: Decompressor | None
) -> AsyncIterator[bytes]:
    wire_size = 0
    async for piece in _received(response, limits, deadline):
        wire_size += len(piece)
        limits.check_size(wire_size)
        if decompressor is None:
            yield piece
        else:
            for step in decompressor.steps(piece):
                yield step
    if decompressor is not None:
        for step in decompressor.finish():
            yield step


async def _received(response: aiohttp.ClientResponse, limits: BodyLimits, deadline: float) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    pace = Pace(limits)
    while True:
        started = loop.time()
        try:
            async with asyncio.timeout_at(min(deadline, started + limits.idle_timeout)):
                piece = await response.content.read(_READ_SIZE)
        except TimeoutError as error:
            detail = "total time exceeded" if loop.time() >= deadline else "idle for too long"
            raise TransientError(f"response body: {detail}") from error
        except NETWORK_ERRORS as error:
            raise TransientError(f"response body: {type(error).__name__}") from error
        if not piece:
            return
        pace.add(len(piece), loop.time() - started)
        yield piece
        # A host that sends without pause never makes read() wait; the deadline holds for it too.
        if loop.time() >= deadline:
            raise TransientError("response body: total time exceeded")
