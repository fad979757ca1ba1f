"""TIDs and the clock that the simulated network lives by.

Source: https://atproto.com/specs/tid
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_TID = re.compile(r"[234567a-j][2-7a-z]{12}")

#: 2026-06-01T00:00:00Z, in microseconds: what a world's clock shows unless told otherwise.
DEFAULT_NOW_US = 1_780_272_000_000_000


def tid(us: int, clock_id: int = 0) -> str:
    """The TID of a time in microseconds since the epoch and a clock id below 1024."""
    value = us << 10 | clock_id
    return (
        _ALPHABET[value >> 60]
        + _PAIRS[value >> 50 & 1023]
        + _PAIRS[value >> 40 & 1023]
        + _PAIRS[value >> 30 & 1023]
        + _PAIRS[value >> 20 & 1023]
        + _PAIRS[value >> 10 & 1023]
        + _PAIRS[value & 1023]
    )


def is_tid(text: str) -> bool:
    return _TID.fullmatch(text) is not None


def tid_us(text: str) -> int:
    """The time in a TID, in microseconds since the epoch."""
    value = 0
    for character in text:
        value = value << 5 | _ALPHABET.index(character)
    return value >> 10


def iso(us: int) -> str:
    """A time as records carry it: UTC with milliseconds."""
    moment = datetime.fromtimestamp(us // 1_000_000, UTC)
    return f"{moment.isoformat()[:19]}.{us // 1000 % 1000:03d}Z"


class Clock:
    """A clock that moves only when told to, a millisecond at every reading, so that worlds repeat exactly.

    One that `follows` keeps up with the true time besides: for worlds that people look at, which need not repeat.
    """

    def __init__(self, now_us: int = DEFAULT_NOW_US) -> None:
        self.now_us = now_us
        self.follows = False

    def tick(self) -> int:
        """The next moment, in microseconds."""
        self.now_us = max(self.now_us + 1000, time.time_ns() // 1000 if self.follows else 0)
        return self.now_us

    def advance(self, seconds: float) -> None:
        self.now_us += int(seconds * 1_000_000)

    def next_tid(self) -> str:
        return tid(self.tick(), clock_id=7)
