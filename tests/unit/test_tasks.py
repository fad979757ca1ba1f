"""The background tasks of a process, at its end."""

from __future__ import annotations

import asyncio

import pytest

from headwater.service import Tasks


async def test_one_that_loses_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.cancelling._AGAIN_SECONDS", 0.1)
    tasks, lost = Tasks(), asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.set()
        await asyncio.Event().wait()

    running = tasks.start(stubborn(), "stubborn")
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await tasks.stop()
    assert lost.is_set()
    assert running.cancelled()


async def test_all_have_ended_when_it_has_stopped() -> None:
    tasks = Tasks()
    done, waiting = tasks.start(asyncio.sleep(0), "done"), tasks.start(asyncio.Event().wait(), "waiting")  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await tasks.stop()
    assert done.done()
    assert waiting.cancelled()
