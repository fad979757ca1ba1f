"""The messages of a websocket, read one at a time: bounded, and noticed when the other side falls silent.

Nothing is read ahead of whoever asks: as long as nobody calls ``receive``, the socket's buffers fill and the other
side has to wait. So silence counts only while somebody is waiting for a message; a heartbeat that ran on its own
would take a connection for dead whose answers only wait behind unread messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Final, Generic, TypeVar

import aiohttp
from aiohttp import WebSocketError, WSCloseCode, WSMsgType

from headwater.errors import InvalidInputError, Reason, TransientError
from headwater.http_body import NETWORK_ERRORS

T = TypeVar("T")

_ENDED: Final = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED)


class MessageTooLargeError(InvalidInputError):
    """A message was too large to be read, which has ended the connection."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.FRAME_TOO_LARGE, detail)


class MessageStream:
    """Binary messages from a host; made by ``GuardedHttp.messages``.

    After ``idle_timeout`` seconds without a message the other side is pinged, after as many again it is given up.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, host: str, idle_timeout: float) -> None:
        self._socket = socket
        self._host = host
        self._idle_timeout = idle_timeout

    async def receive(self) -> bytes:
        """The next message. Raises TransientError when the connection has ended, is broken or silent, and
        MessageTooLargeError."""
        asked = False
        while True:
            try:
                message = await self._next()
            except TimeoutError:
                if asked:
                    raise TransientError(f"{self._host}: silent for {2 * self._idle_timeout:.0f} s") from None
                asked = True
                await self._answer(WSMsgType.PING, b"")
                continue
            except NETWORK_ERRORS as error:
                raise TransientError(f"{self._host}: {type(error).__name__}") from error
            if message.type is WSMsgType.BINARY:
                data: bytes = message.data
                return data
            asked = False
            await self._other(message)

    async def _next(self) -> aiohttp.WSMessage:
        # Most messages are there already, and a timeout would cost as much as all else that is done to receive one.
        receiving: Coroutine[Any, Any, aiohttp.WSMessage] = self._socket.receive()
        try:
            waits_for = receiving.send(None)
        except StopIteration as ended:
            message: aiohttp.WSMessage = ended.value
            return message
        async with asyncio.timeout(self._idle_timeout):
            return await _Begun(receiving, waits_for)

    async def _other(self, message: aiohttp.WSMessage) -> None:
        if message.type is WSMsgType.PING:
            await self._answer(WSMsgType.PONG, message.data)
        elif message.type is WSMsgType.ERROR:
            if isinstance(message.data, WebSocketError) and message.data.code == WSCloseCode.MESSAGE_TOO_BIG:
                raise MessageTooLargeError(f"{self._host}: {message.data}")
            raise TransientError(f"{self._host}: {message.data}")
        elif message.type in _ENDED:
            raise TransientError(f"{self._host}: closed with code {self._socket.close_code}")
        # Text and unasked pongs mean nothing here.

    async def _answer(self, kind: WSMsgType, payload: bytes) -> None:
        try:
            await self._socket.send_frame(payload, kind)
        except NETWORK_ERRORS as error:
            raise TransientError(f"{self._host}: {type(error).__name__}") from error


class _Begun(Generic[T]):
    """The rest of a coroutine that has begun, and that ``waits_for`` a future."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, T]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    come = yield waits_for
                except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
                    waits_for = self._coroutine.throw(error)
                else:
                    waits_for = self._coroutine.send(come)
        except StopIteration as ended:
            value: T = ended.value
            return value
