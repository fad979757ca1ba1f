"""Live events before history: who waits for whom, and for how long."""

from __future__ import annotations

import asyncio

from indexer.right_of_way import RightOfWay


async def giving(way: RightOfWay) -> asyncio.Task[None]:
    """Somebody who gives way, after every other task had its turn."""
    task = asyncio.create_task(way.give())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_rows_of_the_past_wait_until_no_live_event_is_under_way() -> None:
    way = RightOfWay(lambda: 0.0)
    way.take()
    waiting = await giving(way)
    assert not waiting.done()
    way.leave()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert waiting.done()


async def test_live_events_that_never_end_hold_nobody_for_ever() -> None:
    way = RightOfWay(lambda: 0.0)
    way.take()
    async with asyncio.timeout(20):
        for _ in range(3):
            await way.give()


async def test_a_group_that_takes_long_is_not_waited_for() -> None:
    now = 0.0
    way = RightOfWay(lambda: now)
    way.take()
    now = 1.0
    waiting = await giving(way)
    assert waiting.done()
    way.take()
    waiting = await giving(way)
    assert not waiting.done()
    way.leave()
    await waiting


async def test_others_have_their_turn_where_no_live_event_is() -> None:
    turns: list[str] = []

    async def other() -> None:
        turns.append("other")

    task = asyncio.create_task(other())
    await RightOfWay().give()
    assert turns == ["other"]
    await task
