"""Publishing to JetStream: several messages under way, each acknowledged, none lost.

A full stream is the back-pressure: the message is published again until there is room. So is a bus that is away:
the message id makes JetStream take the message once, and what the indexer does converges anyway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext

from headwater.backoff import backoff_seconds
from headwater.bus.streams import stream_is_full
from headwater.cancelling import Group
from headwater.errors import InvariantError
from headwater.long_wait import LongWait

log = logging.getLogger("headwater.publish")

_ACK_SECONDS = 10.0
_RETRY_CAP = 2.0
MESSAGES_IN_FLIGHT = 8
BYTES_IN_FLIGHT = 8 * 1024 * 1024


class ByteWindow:
    """Bytes that may be under way at once. A single larger message waits until it is alone."""

    def __init__(self, size: int = BYTES_IN_FLIGHT) -> None:
        self._size = size
        self._changed = asyncio.Event()
        self.used = 0

    async def take(self, amount: int) -> None:
        """Wait for room."""
        while self.used and self.used + amount > self._size:
            self._changed.clear()
            await self._changed.wait()
        self.used += amount

    def give_back(self, amount: int) -> None:
        """Make room. Waits for nothing, so that no cancellation can come between."""
        self.used -= amount
        self._changed.set()


class Publisher:
    """Publishes for everybody in the process. ``max_payload`` is the server's, in bytes.

    ``waiting`` hears why a message has to be published again, each time: ``stream full``, ``bus away`` or, where
    JetStream answers that it cannot, ``bus refuses``. When none was taken for long, the log says so.
    """

    def __init__(
        self,
        js: JetStreamContext,
        max_payload: int,
        window: ByteWindow | None = None,
        *,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._js = js
        self._window = window or ByteWindow()
        self._waiting = waiting
        self._long = LongWait(log, "publishing")
        self.max_payload = max_payload

    async def publish(
        self, subject: str, payload: bytes, message_id: str, headers: dict[str, str] | None = None
    ) -> None:
        """Publish until JetStream has acknowledged. Raises InvariantError when it refuses for good."""
        fields = {**(headers or {}), "Nats-Msg-Id": message_id}
        tries = 0
        while True:
            try:
                await self._js.publish(subject, payload, timeout=_ACK_SECONDS, headers=dict(fields))
            except nats.js.errors.APIError as error:
                if stream_is_full(error):
                    self._must_wait("stream full", f"the stream of {subject} is full")
                elif error.code is None or error.code < 500:
                    raise InvariantError(f"{subject} refused: {error}") from error
                else:
                    self._must_wait("bus refuses", f"JetStream does not take {subject}: {error}")
            except nats.errors.MaxPayloadError as error:
                raise InvariantError(f"a message of {len(payload)} bytes is too large for the server") from error
            except (nats.errors.Error, OSError) as error:
                self._must_wait("bus away", f"NATS does not answer ({type(error).__name__})")
            else:
                self._long.over()
                return
            tries += 1
            await asyncio.sleep(backoff_seconds(tries, base=0.05, cap=_RETRY_CAP))

    def _must_wait(self, cause: str, why: str) -> None:
        self._waiting(cause)
        self._long.because(why)

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[BatchStream]:
        """Publish many messages side by side. Leaving the context waits for all; an error gives up the rest."""
        try:
            async with Group() as group:
                yield BatchStream(self, group, self._window)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None


class BatchStream:
    """Messages under way; made by ``Publisher.stream``."""

    def __init__(self, publisher: Publisher, group: Group, window: ByteWindow) -> None:
        self._publisher = publisher
        self._group = group
        self._window = window
        self._places = asyncio.Semaphore(MESSAGES_IN_FLIGHT)

    async def send(self, subject: str, payload: bytes, message_id: str, headers: dict[str, str] | None = None) -> None:
        """Publish when there is room among the messages under way; does not wait for the acknowledgement."""
        await self._places.acquire()
        try:
            await self._window.take(len(payload))
        except BaseException:
            self._places.release()
            raise
        size = len(payload)
        sending = self._group.create_task(self._publisher.publish(subject, payload, message_id, headers))
        # Not in the task: one that is cancelled before its first step never begins.
        sending.add_done_callback(lambda _: self._sent(size))

    def _sent(self, size: int) -> None:
        self._places.release()
        self._window.give_back(size)
