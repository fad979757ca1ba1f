"""Live events before history: who waits for whom, and for how long."""

from __future__ import annotations

import asyncio

import pytest

from indexer.right_of_way import Rests, RightOfWay


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
    async with asyncio.timeout(60):
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


class Slept:
    """A clock that is set, and how long somebody slept."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.way = RightOfWay(lambda: self.now)
        self.rests = Rests(self.way, self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def live(self, *, since: float, until: float) -> None:
        """Two groups of live events, one after the other."""
        self.now = since
        self.way.take()
        self.now = (since + until) / 2
        self.way.take()
        self.now = until
        self.way.leave()


async def test_a_group_is_followed_by_a_rest_four_times_as_long_as_live_events_were_under_way() -> None:
    there = Slept()
    there.live(since=101.0, until=105.0)
    there.rests.begin()
    there.live(since=106.0, until=106.03)
    there.now = 107.0
    there.live(since=108.0, until=108.02)
    there.now = 109.0
    await there.rests.rest()
    assert there.slept == pytest.approx([0.2])


async def test_where_no_live_event_was_under_way_nobody_rests() -> None:
    there = Slept()
    there.live(since=101.0, until=105.0)
    there.rests.begin()
    there.now = 200.0
    await there.rests.rest()
    assert there.slept == []


async def test_live_events_that_are_still_under_way_count() -> None:
    there = Slept()
    there.rests.begin()
    there.way.take()
    there.now += 0.05
    await there.rests.rest()
    assert there.slept == pytest.approx([0.2])


async def test_no_rest_is_long() -> None:
    there = Slept()
    there.rests.begin()
    there.live(since=101.0, until=161.0)
    await there.rests.rest()
    assert there.slept == [0.5]


async def test_groups_are_small_as_long_as_live_events_come() -> None:
    there = Slept()
    assert there.rests.most_rows(16_000) == 16_000
    there.rests.begin()
    there.live(since=101.0, until=101.1)
    await there.rests.rest()
    assert there.rests.most_rows(16_000) == 2_000
    assert there.rests.most_rows(100) == 100
    there.rests.begin()
    await there.rests.rest()
    assert there.rests.most_rows(16_000) == 16_000
