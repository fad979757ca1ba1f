"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Iterable, Iterator
from contextvars import Context
from typing import Any, Final, Self, TypeVar
from weakref import WeakKeyDictionary, WeakSet

Result = TypeVar("Result")

AGAIN_SECONDS: Final = 5.0
"""How long a cancelled task has before it is cancelled again: longer than anything says its farewell."""


_members: WeakKeyDictionary[asyncio.Task[Any], WeakSet[asyncio.Task[Any]]] = WeakKeyDictionary()


class Group(asyncio.TaskGroup):  # noqa: TID251
    """A task group whose members are cancelled again when its task is, by ``cancel_and_wait``.

    The library's own cancels its members once. One that loses that (the bus client does where it waits for its bytes to
    go out, and swallows it), or that has begun to wait for something else on its way out (a rollback, of a database
    that answers no more), would keep the group, and all who wait for it.
    """

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._own = _members.setdefault(task, WeakSet())
        return await super().__aenter__()

    def create_task(
        self,
        coro: Generator[Any, None, Result] | Coroutine[Any, Any, Result],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[Result]:
        """As the library's."""
        task = super().create_task(coro, name=name, context=context)
        self._own.add(task)
        return task


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and return when all have ended, however they did. What they raise is theirs.

    One that goes on is cancelled again, and so are the members of its groups (``Group``): where the bus client flushes
    what it has to send, it loses a cancellation.
    """
    every = list(tasks)
    for task in every:
        task.cancel()
    while every:
        _, running = await asyncio.wait(every, timeout=AGAIN_SECONDS)
        if not running:
            break
        for task in running:
            for one in _with_members(task):
                one.cancel()
    await asyncio.gather(*every, return_exceptions=True)


def _with_members(task: asyncio.Task[Any]) -> Iterator[asyncio.Task[Any]]:
    yield task
    for member in list(_members.get(task, ())):
        if not member.done():
            yield from _with_members(member)


async def run_alone(work: Coroutine[Any, Any, Result]) -> Result:
    """Await ``work``, the whole run of a process, and end whatever else then goes on in its event loop.

    ``asyncio.run`` cancels once and waits for ever. A bus client that is closed in the moment in which its server dies
    loses that cancellation, looks for the server again and again, and would keep the process from ending.
    """
    try:
        return await work
    finally:
        await cancel_and_wait(task for task in asyncio.all_tasks() if task is not asyncio.current_task())
