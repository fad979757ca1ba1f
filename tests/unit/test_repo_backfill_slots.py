"""Places are given by rank, some are kept for rank 0, and none is lost to a cancellation."""

from __future__ import annotations

import asyncio

from repo_backfill.slots import Slots


async def _hold(slots: Slots, rank: int, name: str, order: list[str], release: asyncio.Event) -> None:
    async with slots.place(rank):
        order.append(name)
        await release.wait()


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_best_rank_goes_first_and_equals_in_turn():
    slots, order = Slots(1), []
    events = {name: asyncio.Event() for name in ("running", "crawl", "user", "crawl2")}
    ranks = {"running": 2, "crawl": 2, "user": 0, "crawl2": 2}
    tasks = []
    for name, rank in ranks.items():
        tasks.append(asyncio.create_task(_hold(slots, rank, name, order, events[name])))
        await _settle()
    for event in events.values():
        event.set()
    await asyncio.gather(*tasks)
    assert order == ["running", "user", "crawl", "crawl2"]


async def test_a_reserved_place_is_for_rank_0_alone():
    slots, order, release = Slots(2, reserved=1), [], asyncio.Event()
    tasks = [asyncio.create_task(_hold(slots, 1, name, order, release)) for name in ("first", "second")]
    await _settle()
    assert order == ["first"]
    tasks.append(asyncio.create_task(_hold(slots, 0, "user", order, release)))
    await _settle()
    assert order == ["first", "user"]
    release.set()
    await asyncio.gather(*tasks)
    assert sorted(order) == ["first", "second", "user"]


async def test_a_cancelled_wait_does_not_cost_a_place():
    slots, order, release = Slots(1), [], asyncio.Event()
    first = asyncio.create_task(_hold(slots, 0, "first", order, release))
    await _settle()
    waiting = asyncio.create_task(_hold(slots, 0, "given up", order, release))
    await _settle()
    waiting.cancel()
    last = asyncio.create_task(_hold(slots, 0, "last", order, release))
    release.set()
    await asyncio.gather(first, last)
    assert order == ["first", "last"]


async def test_a_place_given_together_with_a_cancellation_goes_on_to_the_next():
    slots, order = Slots(1), []
    release, later = asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(_hold(slots, 0, "first", order, release))
    await _settle()
    unlucky = asyncio.create_task(_hold(slots, 0, "unlucky", order, later))
    next_one = asyncio.create_task(_hold(slots, 1, "next", order, later))
    await _settle()
    release.set()
    await first  # has left its place to "unlucky", who has not run yet
    unlucky.cancel()
    later.set()
    await asyncio.wait_for(next_one, 60)
    assert order in (["first", "next"], ["first", "unlucky", "next"])
