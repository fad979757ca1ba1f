"""``asyncio.wait_for`` as it is from Python 3.12 on, put in its place where Python is older.

Before, a cancellation that comes in the moment in which what is waited for is done is lost: the caller goes on as if
nobody had cancelled it. The bus client waits that way for every answer. A task alone can be cancelled again, but the
members of a task group are cancelled once: one that goes on keeps its group, and all who wait for that, for ever.
(Python's issue 86296.)
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import TypeVar

Result = TypeVar("Result")


async def wait_for(awaited: Awaitable[Result], timeout: float | None) -> Result:
    """Await ``awaited`` for ``timeout`` seconds (None: for ever), then cancel it. Raises TimeoutError."""
    async with asyncio.timeout(timeout):
        return await awaited


if sys.version_info < (3, 12):
    asyncio.wait_for = wait_for  # type: ignore[assignment]
