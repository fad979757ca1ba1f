"""The background tasks of a process, at its end."""

from __future__ import annotations

import asyncio

import pytest

from headwater.cancelling import Group, cancel_and_wait, run_alone
from headwater.service import Tasks


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes on is cancelled again soon."""
    monkeypatch.setattr("headwater.cancelling.AGAIN_SECONDS", 0.1)


async def stubborn(lost: asyncio.Event) -> None:
    """Lose one cancellation, and say so."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        lost.set()
    await asyncio.Event().wait()


async def test_one_that_loses_a_cancellation_is_cancelled_again() -> None:
    tasks, lost = Tasks(), asyncio.Event()
    running = tasks.start(stubborn(lost), "stubborn")
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await tasks.stop()
    assert lost.is_set()
    assert running.cancelled()


@pytest.mark.parametrize("depth", [1, 2])
async def test_a_member_of_a_group_that_loses_a_cancellation_is_cancelled_again(depth: int) -> None:
    lost = asyncio.Event()

    async def group(depth: int) -> None:
        async with Group() as members:
            members.create_task(group(depth - 1) if depth else stubborn(lost))

    running = asyncio.create_task(group(depth))
    for _ in range(2 * depth + 2):
        await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await cancel_and_wait([running])
    assert lost.is_set()
    assert running.cancelled()


async def test_all_have_ended_when_it_has_stopped() -> None:
    tasks = Tasks()
    done, waiting = tasks.start(asyncio.sleep(0), "done"), tasks.start(asyncio.Event().wait(), "waiting")  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await tasks.stop()
    assert done.done()
    assert waiting.cancelled()


def test_a_process_ends_although_what_a_library_left_behind_loses_its_cancellation() -> None:
    left: list[asyncio.Task[None]] = []
    lost = asyncio.Event()

    async def work() -> int:
        left.append(asyncio.create_task(stubborn(lost)))
        await asyncio.sleep(0)
        return 7

    assert asyncio.run(run_alone(work())) == 7
    assert lost.is_set()
    assert left[0].cancelled()
