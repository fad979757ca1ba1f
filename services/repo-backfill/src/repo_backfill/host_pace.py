"""How fast a host serves, and so when somebody who is sent away shall come again: not before it may be his turn."""

from __future__ import annotations

from typing import Final

_LEAST_SECONDS: Final = 1.0
_MOST_SECONDS: Final = 120.0
"""A host may be faster again by then."""
_NEWEST_WEIGHT: Final = 0.3


class HostPace:
    """Of one host with so many ``connections``. Times are of the limiter's clock, in seconds."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._mean = 0.0
        self._running: list[float] = []
        self._next = 0.0

    @property
    def running(self) -> int:
        """How many requests are under way."""
        return len(self._running)

    def began(self, now: float) -> None:
        """A request begins."""
        self._running.append(now)

    def ended(self, began: float, now: float) -> None:
        """The request that began then has ended, however."""
        self._running.remove(began)
        self._mean += _NEWEST_WEIGHT * (now - began - self._mean)

    def come_again(self, now: float, seconds_a_token: float) -> float:
        """In how many seconds the next one who is sent away shall come; each a turn after the one before him.

        A request that has been under way for longer than others took says more than they do.
        """
        takes = max([self._mean, *(now - began for began in self._running)])
        turn = max(takes / self._connections, seconds_a_token)
        self._next = min(max(self._next, now) + turn, now + _MOST_SECONDS)
        return max(self._next - now, _LEAST_SECONDS)
