"""Waiting with a bound, as libraries do it: nobody who is cancelled goes on, whatever comes in that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from headwater.cancelling import cancel_and_wait
from headwater.wait_for import wait_for


async def ask_on_and_on(asked: list[asyncio.Future[None]]) -> None:
    """As the bus client does: one answer is waited for after the other."""
    while True:
        asked.append(asyncio.get_running_loop().create_future())
        await asyncio.wait_for(asked[-1], 100)


async def test_an_answer_does_not_take_a_cancellation_away() -> None:
    asked: list[asyncio.Future[None]] = []
    asking = asyncio.create_task(ask_on_and_on(asked))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked[-1].set_result(None)
    asking.cancel()
    await asyncio.wait({asking}, timeout=30)
    assert asking.cancelled()
    assert len(asked) == 1


@pytest.mark.parametrize("loops_before_the_answer", range(4))
async def test_a_group_ends_although_an_answer_comes_as_it_is_cancelled(loops_before_the_answer: int) -> None:
    asked: list[asyncio.Future[None]] = []

    async def group_of_one() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ask_on_and_on(asked))

    group = asyncio.create_task(group_of_one())
    while not asked:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    ending = asyncio.create_task(cancel_and_wait([group]))
    for _ in range(loops_before_the_answer):
        await asyncio.sleep(0)
    if not asked[-1].done():
        asked[-1].set_result(None)
    async with asyncio.timeout(30):
        await ending
    assert group.cancelled()


@pytest.mark.parametrize("waiting", [wait_for, asyncio.wait_for])
async def test_what_takes_too_long_is_cancelled(waiting: Callable[[Awaitable[None], float], Awaitable[None]]) -> None:
    for timeout in (0.0, 0.01):
        slow = asyncio.get_running_loop().create_future()
        with pytest.raises(TimeoutError):
            await waiting(slow, timeout)
        assert slow.cancelled()


async def test_what_comes_in_time_is_returned() -> None:
    assert await wait_for(asyncio.sleep(0.001, "here"), None) == "here"
    assert await wait_for(asyncio.sleep(0, "here"), 30) == "here"
    with pytest.raises(KeyError):
        await wait_for(_fail(), 30)


async def _fail() -> None:
    raise KeyError
