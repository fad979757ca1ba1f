"""Following a job: server-sent events, one for each change, until it has ended.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import nats.errors
from sse_starlette import EventSourceResponse

from api_gateway.bus import Bus
from api_gateway.jobs import status_of
from api_gateway.problems import Problem

POLL_SECONDS: Final = 0.25
"""The job is read this often. It is not watched: a watch is a consumer that dies with the server, and silently."""
HEARTBEAT_SECONDS: Final = 10
_RECONNECT_MS: Final = 1000
_SEND_SECONDS: Final = 30


class Followers:
    """Who follows jobs, or exports, now, so that nobody takes all places."""

    def __init__(self, each: int = 16, total: int = 1000) -> None:
        self._each = each
        self._total = total
        self._open: Counter[str] = Counter()

    @contextmanager
    def place(self, who: str) -> Iterator[None]:
        """A place for ``who`` while the block runs."""
        self._open[who] += 1
        try:
            yield
        finally:
            self._open[who] -= 1
            self._open += Counter()

    def check(self, who: str) -> None:
        """Raises Problem 429 when ``who``, or all together, have no place left."""
        if self._open[who] >= self._each or self._open.total() >= self._total:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS, "too_many_followers", "too many streams are open", retry_after=5
            )


def event_stream(bus: Bus, followers: Followers, who: str, did: str, job_id: str) -> EventSourceResponse:
    """The job's events for ``who``. Raises Problem 429."""

    async def events() -> AsyncIterator[dict[str, str]]:
        async for status in changes(bus, did, job_id):
            yield {"data": status}

    return stream_of(events(), followers, who)


def stream_of(events: AsyncIterator[dict[str, str]], followers: Followers, who: str) -> EventSourceResponse:
    """Events (``data``, and ``event`` where it has a name) as a response to ``who``. Raises Problem 429."""
    followers.check(who)

    async def placed() -> AsyncIterator[dict[str, str | int]]:
        with followers.place(who):
            async for event in events:
                yield {**event, "retry": _RECONNECT_MS}

    return EventSourceResponse(placed(), ping=HEARTBEAT_SECONDS, sep="\n", send_timeout=_SEND_SECONDS)


async def changes(bus: Bus, did: str, job_id: str) -> AsyncIterator[str]:
    """The job's JobStatus as JSON, first as it is and then whenever it changes; ends after the final one.

    A bus that is away is waited for. Ends also when the job is no longer known.
    """
    last = ""
    while True:
        try:
            status = await status_of(bus, did, job_id)
        except (nats.errors.Error, Problem):
            await asyncio.sleep(POLL_SECONDS)
            continue
        if status is None:
            return
        text = status.model_dump_json()
        if text != last:
            last = text
            yield text
        if status.state.final:
            return
        await asyncio.sleep(POLL_SECONDS)
