"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

_AGAIN_SECONDS: Final = 5.0
"""Longer than anything says its farewell."""


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and return when all have ended, however they did. What they raise is theirs.

    One that goes on is cancelled again: where the bus client flushes what it has to send, it loses a cancellation. Of a
    task group the members are cancelled only once, which is why ``headwater.wait_for`` is needed beside this.
    """
    every = list(tasks)
    while running := [task for task in every if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_AGAIN_SECONDS)
    await asyncio.gather(*every, return_exceptions=True)


async def run_alone(work: Coroutine[Any, Any, Result]) -> Result:
    """Await ``work``, the whole run of a process, and end whatever else then goes on in its event loop.

    ``asyncio.run`` cancels once and waits for ever. A bus client that is closed in the moment in which its server dies
    loses that cancellation, looks for the server again and again, and would keep the process from ending.
    """
    try:
        return await work
    finally:
        await cancel_and_wait(task for task in asyncio.all_tasks() if task is not asyncio.current_task())
