"""Live events before history: whoever writes rows of the past lets live events pass.

Both share an event loop, a machine and mostly a server, and a live transaction meets the others at each of its round
trips. So what feeds rows of the past to Postgres stops between two stretches of them while live events are under way,
for a moment at most: live events that never end slow an import down, and do not stop it. A group of live events that
takes long is not waited for, since it may itself wait for a repo that the import holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

Pause = Callable[[], Awaitable[None]]
"""What is awaited between two stretches of rows."""

_AT_MOST_SECONDS: Final = 0.004
_SHORT_SECONDS: Final = 0.05
"""Nearly all groups of live events are written within this."""


async def one_turn() -> None:
    """Let every other task that can go on do so, once."""
    await asyncio.sleep(0)


class RightOfWay:
    """Of one process: live events ``take`` it and ``leave`` it, all others ``give`` it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._taken_at = 0.0
        self._free = asyncio.Event()
        self._free.set()

    def take(self) -> None:
        """A group of live events is under way from now on."""
        self._taken_at = self._clock()
        self._free.clear()

    def leave(self) -> None:
        """None is any more."""
        self._free.set()

    async def give(self) -> None:
        """Wait a moment for live events; where there are none, or they take long, only for other tasks' turn."""
        if self._free.is_set() or self._clock() - self._taken_at > _SHORT_SECONDS:
            await one_turn()
            return
        try:
            async with asyncio.timeout(_AT_MOST_SECONDS):
                await self._free.wait()
        except TimeoutError:
            return
