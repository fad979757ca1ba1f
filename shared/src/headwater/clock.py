"""The time, in the one unit that Headwater keeps: microseconds since 1970 (UTC)."""

from __future__ import annotations

import time

DAY_US = 86_400_000_000


def now_us() -> int:
    """Now, in microseconds since 1970."""
    return time.time_ns() // 1_000
