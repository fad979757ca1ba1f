"""How long rows of the past wait for others, to share a transaction with them: only while others keep coming.

A transaction has a price, however few rows it writes, and most repos are small. So a message waits a moment for the
next, and so on, until enough are there or none came. One that comes alone waits a single moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

MOMENT_SECONDS: Final = 0.05
MOST_MOMENTS: Final = 4
ENOUGH_ROWS: Final = 4_000
"""Beside so many rows the price of a transaction is small."""


class Waiting(NamedTuple):
    """What waits to be written. ``hastens``: something of it must not wait, or no more can come."""

    messages: int
    rows: int
    hastens: bool


async def linger(look: Callable[[], Waiting], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Wait for more messages, if that is worth while; ``look`` tells what waits already."""
    for _ in range(MOST_MOMENTS):
        before = look()
        if before.hastens or before.rows >= ENOUGH_ROWS:
            return
        await sleep(MOMENT_SECONDS)
        if look().messages == before.messages:
            return
