"""A clock that goes when a test says so."""

from __future__ import annotations


class Clock:
    """``now`` is in seconds; call it as ``time.monotonic``."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
