"""Waiting for what is to come true."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], seconds: float = 120, *, pause: float = 0.05) -> None:
    """Look every ``pause`` seconds until a condition, synchronous or asynchronous, holds.

    After ``seconds``, which are many because a busy machine is slow, an AssertionError says what did not come true.
    """
    deadline = time.monotonic() + seconds
    while not await _holds(condition):
        assert time.monotonic() < deadline, f"in {seconds} s it never came true: {_told(condition)}"
        await asyncio.sleep(pause)


async def _holds(condition: Callable[[], object]) -> bool:
    found = condition()
    return bool(await found if inspect.isawaitable(found) else found)


def _told(condition: Callable[[], object]) -> str:
    """The condition's name; the line where it stands if it has none."""
    name: str = getattr(condition, "__qualname__", repr(condition))
    if not name.endswith("<lambda>"):
        return name
    try:
        return inspect.getsource(condition).strip()
    except OSError:
        return name
