"""A bounded number of places, given to whoever waits with the best rank."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """``count`` places. The lowest rank goes first, and among equals whoever came first.

    ``reserved`` of them are for rank 0 alone, so that it never waits for a long one of a higher rank.
    """

    def __init__(self, count: int, reserved: int = 0) -> None:
        self._free = count
        self._reserved = reserved
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def place(self, rank: int = 0) -> AsyncIterator[None]:
        """Hold a place; waits for one."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._order), turn))
        self._give()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place came together with the cancellation
                self._take_back()
            raise
        try:
            yield
        finally:
            self._take_back()

    def _give(self) -> None:
        while self._waiting:
            rank, _, turn = self._waiting[0]
            if not turn.done():
                if self._free <= (self._reserved if rank else 0):
                    return
                self._free -= 1
                turn.set_result(None)
            heapq.heappop(self._waiting)

    def _take_back(self) -> None:
        self._free += 1
        self._give()
