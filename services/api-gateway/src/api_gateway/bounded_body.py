"""Bodies are small: read whole before any route sees them, within a size and a time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_gateway.problems import Problem

MAX_BODY_BYTES: Final = 16 * 1024
_READ_SECONDS: Final = 10.0
_DRAIN_BYTES: Final = 32 * 1024 * 1024


class BoundedBody:
    """ASGI middleware: refuses larger bodies with 422 and slower ones with 408. ``streamed`` paths bound their own."""

    def __init__(self, app: ASGIApp, streamed: Collection[str] = ()) -> None:
        self._app = app
        self._streamed = frozenset(streamed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body in one piece."""
        if scope["type"] != "http" or scope["path"] in self._streamed:
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(_READ_SECONDS):
                body = await _read(receive)
        except TimeoutError:
            await _refuse(HTTPStatus.REQUEST_TIMEOUT, "body_too_slow", "the body did not come", scope, receive, send)
            return
        if body is None:
            return
        if len(body) > MAX_BODY_BYTES:
            said = f"a body of more than {MAX_BODY_BYTES} bytes is not taken"
            await _refuse(HTTPStatus.UNPROCESSABLE_ENTITY, "body_too_large", said, scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)


async def _read(receive: Receive) -> bytes | None:
    """The body, or the beginning of one that is too large; None when the client has gone.

    What comes after the limit is read and dropped, within reason: a client that is still sending when the
    connection closes never sees the answer.
    """
    body = bytearray()
    size = 0
    while size <= _DRAIN_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if len(body) <= MAX_BODY_BYTES:
            body += chunk
        if not message.get("more_body", False):
            break
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def once() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once


async def _refuse(status: HTTPStatus, reason: str, detail: str, scope: Scope, receive: Receive, send: Send) -> None:
    await Problem(status, reason, detail).response()(scope, receive, send)
