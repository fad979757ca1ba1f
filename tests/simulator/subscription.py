"""com.atproto.sync.subscribeRepos: a stream over a websocket, one consumer at a time.

Source: the lexicon com.atproto.sync.subscribeRepos, https://atproto.com/specs/event-stream
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine

from aiohttp import WSMsgType, web

from . import spoils
from .host import as_json
from .reply import send
from .stream import Entry, Stream

SUBSCRIBE_REPOS = "com.atproto.sync.subscribeRepos"

_AT_ONCE = 100
#: How long a slow consumer has to read why it is closed.
_PARTING_S = 2.0
#: With a bounded queue the kernel must not be a second, larger one.
_SEND_BUFFER_BYTES = 64 * 1024


class Subscriptions:
    """The consumers of a stream."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        #: How many are connected now, and how many connections there were.
        self.connected = 0
        self.accepted = 0
        self.too_slow = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one consumer until either side has enough."""
        text = request.query.get("cursor")
        if text is not None and not text.isdecimal():
            return await send(request, as_json({"error": "InvalidRequest", "message": "Error: cursor"}, 400))
        if self.stream.queue is not None and request.transport is not None:
            connection: socket.socket = request.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        # The place is chosen before the handshake: a consumer that is connected misses nothing.
        consumer = _Consumer(self.stream, None if text is None else int(text))
        websocket = web.WebSocketResponse(compress=False)
        await websocket.prepare(request)
        self.connected += 1
        self.accepted += 1
        try:
            await first_of(until_closed(websocket), consumer.send_all(websocket))
            self.too_slow += consumer.too_slow
            await _part(websocket, request)
        finally:
            self.connected -= 1
        return websocket


class _Consumer:
    """One connection: where it is in the stream, and whether it has caught up."""

    def __init__(self, stream: Stream, cursor: int | None) -> None:
        self._stream = stream
        self._generation = stream.generation
        self._greetings, self._closing = _greetings(stream, cursor)
        self._place = stream.end if cursor is None else stream.place_after(cursor)
        # An error ends the connections of its time; who comes later finds the events alone.
        self._joined = stream.end
        self._live = self._place == stream.end
        self.too_slow = False

    async def send_all(self, websocket: web.WebSocketResponse) -> None:
        """Send what there is and what comes, until the connection is to be closed."""
        for message in self._greetings:
            await websocket.send_bytes(message)
        if self._closing is not None:
            await websocket.send_bytes(self._closing)
            return
        with contextlib.suppress(ConnectionError, TimeoutError):
            await first_of(self._send_entries(websocket), self._watch())
            if self.too_slow:
                await asyncio.wait_for(
                    websocket.send_bytes(spoils.error("ConsumerTooSlow", "Stream consumer too slow")), _PARTING_S
                )

    async def _send_entries(self, websocket: web.WebSocketResponse) -> None:
        while True:
            news = self._stream.news
            behind, entries = self._stream.read(self._place, _AT_ONCE)
            for entry in entries:
                past = entry.closes and self._place < self._joined
                if not past:
                    await _send_entry(websocket, entry)
                    if entry.closes:
                        return
                self._place += 1
            self._place = behind
            if not entries:
                self._live = True
                await news.wait()

    async def _watch(self) -> None:
        """Return when all consumers are to go, or when this one lags while it should be live."""
        while True:
            news = self._stream.news
            if self._stream.generation != self._generation:
                return
            queue = self._stream.queue
            if queue is not None and self._live and self._stream.end - self._place > queue:
                self.too_slow = True
                return
            await news.wait()


def _greetings(stream: Stream, cursor: int | None) -> tuple[list[bytes], bytes | None]:
    """What a consumer is told before the events: messages, and the one behind which it is closed."""
    if cursor is None:
        return [], None
    if cursor > stream.last_seq:
        return [], spoils.error("FutureCursor", "Cursor in the future.") if stream.says_future else None
    oldest = stream.first_seq
    # Cursor 0 asks for whatever there is, so nothing is missing from it.
    outdated = 0 < cursor < (stream.last_seq if oldest is None else oldest - 1)
    if outdated and stream.says_outdated:
        return [spoils.info("OutdatedCursor", "Requested cursor exceeded limit. Possibly missing events")], None
    return [], None


async def _send_entry(websocket: web.WebSocketResponse, entry: Entry) -> None:
    content = entry.content()
    if isinstance(content, str):
        await websocket.send_str(content)
    else:
        await websocket.send_bytes(content)


async def until_closed(websocket: web.WebSocketResponse) -> None:
    """Answer pings, and return when the consumer has gone."""
    while True:
        message = await websocket.receive()
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
            return


async def first_of(*jobs: Coroutine[None, None, None]) -> None:
    """Run until one has ended, then end the others; an error is raised."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _part(websocket: web.WebSocketResponse, request: web.Request) -> None:
    """Close the connection; cut it where the consumer does not take part."""
    try:
        await asyncio.wait_for(websocket.close(), _PARTING_S)
    except (ConnectionError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()
