"""What people see of a live tail: its cursor saved every second, its progress told every other, and its rate."""

from __future__ import annotations

import asyncio
from typing import Final

from firehose_backfill import metrics
from firehose_backfill.firehose_log import FirehoseLog
from firehose_backfill.live import LiveTail

_SECOND: Final = 1.0
# Of the rate so much is the last second's, so that it does not flicker.
_WEIGHT: Final = 0.3


class LiveReport:
    """Reports of a tail; of None there is nothing to report."""

    def __init__(self, tail: LiveTail | None, told: FirehoseLog) -> None:
        self._tail = tail
        self._told = told
        self._rate = 0.0

    async def run(self) -> None:
        """Save and tell, until cancelled."""
        loop = asyncio.get_running_loop()
        tail = self._tail
        if tail is None:
            return
        before, events, ticks = loop.time(), tail.events_taken, 0
        while True:
            await asyncio.sleep(_SECOND)
            await tail.save()
            now, taken, ticks = loop.time(), tail.events_taken, ticks + 1
            self._rate += _WEIGHT * ((taken - events) / (now - before) - self._rate)
            before, events = now, taken
            progress = tail.progress(round(self._rate, 1))
            metrics.LAG_SECONDS.set(progress.lag_seconds or 0)
            if ticks % 2 == 0:
                await self._told.progress(progress)

    def figures(self) -> dict[str, float]:
        """For the worker's presence."""
        if self._tail is None:
            return {}
        progress = self._tail.progress(self._rate)
        figures = {"connected": float(progress.connected), "events_per_second": round(self._rate, 1)}
        if progress.lag_seconds is not None:
            figures["lag_seconds"] = round(progress.lag_seconds, 1)
        return figures
