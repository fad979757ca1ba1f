"""A relay's firehose: com.atproto.sync.subscribeRepos over a websocket, from a cursor or from the head.

Whoever reads gets the raw messages, one at a time and none read ahead, so that a reader who waits makes the relay
wait. Reconnecting is the reader's: it alone knows from where.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from yarl import URL

from headwater.http import GuardedHttp
from headwater.http_messages import MessageStream

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""What ends a connection. Frames may be 5 MB; a larger one that still fits in here is refused and the next one read."""
IDLE_SECONDS: Final = 30.0
_METHOD: Final = "com.atproto.sync.subscribeRepos"


class Relay:
    """One relay. ``origin`` is its https (in development http) origin, ``name`` its host and port.

    ``idle_timeout`` is in seconds: after that silence the relay is pinged, after as much again it is given up.
    """

    def __init__(self, http: GuardedHttp, origin: URL, *, idle_timeout: float = IDLE_SECONDS) -> None:
        self._http = http
        self._idle_timeout = idle_timeout
        self.origin = origin
        self.name = origin.authority

    @asynccontextmanager
    async def subscribe(self, cursor: int | None) -> AsyncIterator[MessageStream]:
        """Connect; the events after ``cursor`` (0: all that the relay holds, None: from now on) follow.

        Raises TransientError when the relay cannot be reached, and InvalidInputError(HOST_FORBIDDEN).
        """
        url = self.origin / "xrpc" / _METHOD
        if cursor is not None:
            url = url % {"cursor": cursor}
        async with self._http.messages(
            str(url), max_message=MAX_MESSAGE_BYTES, idle_timeout=self._idle_timeout
        ) as stream:
            yield stream
