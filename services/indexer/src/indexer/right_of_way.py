"""Live events before history: whoever writes rows of the past lets live events pass.

Both share an event loop, a machine and mostly a server, and a live transaction meets the others at each of its round
trips. So what feeds rows of the past to Postgres stops between two stretches of them while live events are under way,
for a moment at most: live events that never end slow an import down, and do not stop it. A group of live events that
takes long is not waited for, since it may itself wait for a repo that the import holds.

That alone leaves both cores of a small machine busy, and whoever wakes then waits. So after a group of rows of the past
comes a rest, the longer the more of that time live events were under way: none where there are none, and little on a
machine that is done with them at once. Groups are small as long as live events come: a large one is a long burst, and
long rests between long bursts are no help to whoever comes during one. The stream of snapshots is small, so that
whoever fetches repos rests too.
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
_REST_SHARE: Final = 4.0
_REST_AT_MOST_SECONDS: Final = 0.5
_FEW_ROWS: Final = 2_000


async def one_turn() -> None:
    """Let every other task that can go on do so, once."""
    await asyncio.sleep(0)


class RightOfWay:
    """Of one process: live events ``take`` it and ``leave`` it, all others ``give`` it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._taken_at = 0.0
        self._begun_at = 0.0
        self._seconds = 0.0
        self._free = asyncio.Event()
        self._free.set()

    def take(self) -> None:
        """A group of live events is under way from now on."""
        self._taken_at = self._clock()
        if self._free.is_set():
            self._begun_at = self._taken_at
        self._free.clear()

    def leave(self) -> None:
        """None is any more."""
        self._seconds = self.seconds
        self._free.set()

    @property
    def seconds(self) -> float:
        """For how long live events have been under way, in all."""
        return self._seconds if self._free.is_set() else self._seconds + self._clock() - self._begun_at

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


class Rests:
    """Of one lane that gives way: ``begin`` before a group, ``rest`` after it, ``most_rows`` for the next one."""

    def __init__(self, way: RightOfWay, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._way = way
        self._sleep = sleep
        self._before = 0.0
        self._live_come = False

    def begin(self) -> None:
        """A group is about to be written."""
        self._before = self._way.seconds

    async def rest(self) -> None:
        """Wait for four times as long as live events were under way since, half a second at most."""
        live = self._way.seconds - self._before
        self._live_come = live > 0.0
        if self._live_come:
            await self._sleep(min(_REST_SHARE * live, _REST_AT_MOST_SECONDS))

    def most_rows(self, most: int) -> int:
        """How many rows the next group may have: ``most``, and few as long as live events come."""
        return min(most, _FEW_ROWS) if self._live_come else most
