"""Waiting for a condition of a test's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from waiting import until


@pytest.fixture
def third() -> Callable[[], bool]:
    """Holds from the third look on."""
    looks = iter([False, False, True])
    return lambda: next(looks)


async def test_a_condition_is_looked_at_until_it_holds(third: Callable[[], bool]) -> None:
    await until(third, pause=0)


async def test_a_condition_may_be_asynchronous(third: Callable[[], bool]) -> None:
    async def holds() -> bool:
        return third()

    await until(holds, pause=0)


async def never() -> bool:
    return False


async def test_what_does_not_come_true_is_named(third: Callable[[], bool]) -> None:
    with pytest.raises(AssertionError, match="never came true: never"):
        await until(never, seconds=0)
    with pytest.raises(AssertionError, match="lambda: not third"):
        await until(lambda: not third, seconds=0)
