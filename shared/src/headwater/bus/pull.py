"""Messages of one durable consumer, each handed on as soon as it is there.

nats-py's own ``fetch`` returns a partial batch only when its time is up, which would delay live posts. This asks for
a few messages at a time (https://docs.nats.io/reference/reference-protocols/nats_api_reference) and hands each on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import APIError

_EXPIRES_SECONDS = 5.0
_NOTHING_CAME = frozenset({"404", "408"})


class Pull:
    """One consumer of one stream. ``deliver`` is called for every message and must not block."""

    def __init__(self, client: Client, stream: str, consumer: str, deliver: Callable[[Msg], None]) -> None:
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = client.new_inbox()
        self._deliver = deliver
        self._left = 0
        self._refused: APIError | None = None
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Pull:
        self._subscription = await self._client.subscribe(self._inbox, cb=self._on_message)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if not self._client.is_closed:
            await self._subscription.unsubscribe()

    async def ask(self, count: int) -> None:
        """Ask for up to ``count`` messages; returns when they came, or no more came in a few seconds.

        Raises nats errors, also where the server refuses at once (JetStream does not run yet, or the consumer is gone):
        whoever asked again without a pause would do so thousands of times a second.
        """
        self._left, self._refused = count, None
        self._ended.clear()
        request = {"batch": count, "expires": int(_EXPIRES_SECONDS * 1e9)}
        await self._client.publish(self._subject, json.dumps(request).encode(), reply=self._inbox)
        try:
            # The server says when the time is up; it cannot when the connection was lost meanwhile.
            await asyncio.wait_for(self._ended.wait(), _EXPIRES_SECONDS + 1.0)
        except TimeoutError:
            return
        if self._refused is not None:
            raise self._refused

    async def _on_message(self, msg: Msg) -> None:
        if not msg.reply:  # a status of the server: no more messages for this request
            self._refused = _refusal(msg.headers or {})
            self._ended.set()
            return
        self._left -= 1
        if self._left <= 0:
            self._ended.set()
        self._deliver(msg)


def _refusal(status: Mapping[str, str]) -> APIError | None:
    """The error in a status of the server; None where it only says that nothing came in time."""
    code = status.get("Status", "")
    if code in _NOTHING_CAME:
        return None
    # Of a status without words nats-py takes the next header for its words.
    words = status.get("Description", "").partition("\n")[0].strip()
    return APIError(int(code or 0), words or "nobody answers")
