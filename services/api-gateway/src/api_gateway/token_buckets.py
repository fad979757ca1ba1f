"""How much of something each of many may have: so much at once, and as much again in so many seconds."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_MAX_KNOWN: Final = 20_000


class TokenBuckets:
    """A token bucket for each key; those that were idle longest are forgotten."""

    def __init__(self, burst: int, seconds: float) -> None:
        self._burst = burst
        self._rate = burst / seconds
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """Take one; 0 when there was one, otherwise the seconds until there is. ``now`` only grows."""
        left = self._left(key, now)
        wait = self._wait(left)
        self._known[key] = (left if wait else left - 1, now)
        self._known.move_to_end(key)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        return wait

    def wait(self, key: str, now: float) -> float:
        """The seconds until there is one to take; 0 when there is."""
        return self._wait(self._left(key, now))

    def _left(self, key: str, now: float) -> float:
        left, seen = self._known.get(key, (float(self._burst), now))
        return min(self._burst, left + (now - seen) * self._rate)

    def _wait(self, left: float) -> float:
        return 0.0 if left >= 1 else (1 - left) / self._rate
