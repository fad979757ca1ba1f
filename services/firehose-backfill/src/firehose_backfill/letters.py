"""Frames and records that could not be used, kept for people to look at: a few of a minute, best effort."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import nats.errors
from nats.js import JetStreamContext

from firehose_backfill.rows import RefusedRecord
from headwater.bus.dead_letters import keep_dead_letter
from headwater.cid import cid_text
from headwater.errors import InvalidInputError, Reason

log = logging.getLogger("firehose_backfill.letters")

KEPT_PER_MINUTE: Final = 60
"""One hostile host must not push everybody else's letters out of the stream. All are counted."""
_MINUTE: Final = 60.0


class _Letter(NamedTuple):
    kind: str
    reason: Reason
    payload: bytes
    headers: dict[str, str]
    detail: str


class Letters:
    """Takes letters without waiting, and keeps them from a task of its own (``run``)."""

    def __init__(self, js: JetStreamContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._js = js
        self._clock = clock
        self._began = clock()
        self._taken = 0
        self._queue: asyncio.Queue[_Letter] = asyncio.Queue(KEPT_PER_MINUTE)

    def frame(
        self, relay: str, message: bytes, error: InvalidInputError, did: str | None = None, rev: str | None = None
    ) -> None:
        """A frame that cannot be read, or whose claims are refused; ``did`` and ``rev`` are its claims."""
        headers = {"Headwater-Relay": relay}
        if did is not None:
            headers["Headwater-Did"] = did
        if rev is not None:
            headers["Headwater-Rev"] = rev
        self._take(_Letter("frame", error.reason, message, headers, error.detail))

    def record(self, did: str, rev: str, refused: RefusedRecord) -> None:
        """A record of a verified commit that cannot be used."""
        headers = {
            "Headwater-Did": did,
            "Headwater-Rev": rev,
            "Headwater-Collection": refused.collection,
            "Headwater-Rkey": refused.rkey,
            "Headwater-Cid": cid_text(refused.cid),
        }
        self._take(_Letter("record", refused.reason, refused.block, headers, refused.detail))

    def _take(self, letter: _Letter) -> None:
        now = self._clock()
        if now - self._began >= _MINUTE:
            self._began, self._taken = now, 0
        if self._taken < KEPT_PER_MINUTE and not self._queue.full():
            self._taken += 1
            self._queue.put_nowait(letter)

    async def run(self) -> None:
        """Keep what is taken, until cancelled."""
        while True:
            letter = await self._queue.get()
            try:
                await keep_dead_letter(self._js, *letter)
            except (nats.errors.Error, OSError) as error:
                log.warning("a dead letter was lost: %s", error)
