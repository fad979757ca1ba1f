"""Blocks stay in memory while all repos together fit the budget, and every byte of it is given back."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from headwater.car import CarLimits
from headwater.cid import cid_of
from headwater.errors import InvalidInputError, Reason
from repo_backfill.busy import BusyError
from repo_backfill.car_store import INDEX_BYTES, CarStore, MemoryBudget, in_thread
from waiting import until


def blocks(name: str, count: int) -> list[tuple[bytes, bytes]]:
    made = [f"{name} {number}".encode() * 20 for number in range(count)]
    return [(cid_of(block), block) for block in made]


async def test_what_fits_stays_in_memory_and_what_does_not_goes_to_a_file(tmp_path: Path):
    budget, index = MemoryBudget(100_000), MemoryBudget(100_000)
    small, large = (CarStore(budget, index, tmp_path / "spool") for _ in range(2))
    few, many = blocks("small", 100), blocks("large", 1000)
    small.put_all(few)
    taken = budget.taken
    assert taken > sum(len(block) for _, block in few)
    for start in range(0, len(many), 100):
        large.put_all(many[start : start + 100])
    assert (small.spooled, large.spooled) == (False, True)
    assert budget.taken == taken
    for store, put in ((small, few), (large, many)):
        await store.seal()
        assert [store.get(cid) for cid, _ in put] == [block for _, block in put]
        with pytest.raises(InvalidInputError) as missing:
            store.get(cid_of(b"nothing"))
        assert missing.value.reason is Reason.BLOCK_MISSING
    small.close()
    large.close()
    assert (budget.taken, index.taken) == (0, 0)
    assert list((tmp_path / "spool").iterdir()) == []


def test_what_is_kept_beside_the_blocks_counts_too(tmp_path: Path):
    budget = MemoryBudget(1000)
    store = CarStore(budget, MemoryBudget(10_000), tmp_path)
    assert store.reserve(900)
    assert not store.reserve(200)
    store.put_all(blocks("any", 10))
    assert store.spooled
    store.close()
    assert budget.taken == 0


def test_what_finds_the_blocks_of_large_repos_has_a_budget_of_its_own(tmp_path: Path):
    """A CAR may be of millions of blocks that hold nothing, and several come at once."""
    nothing, index = MemoryBudget(0), MemoryBudget(5_000)
    first, second = (CarStore(nothing, index, tmp_path) for _ in range(2))
    first.put_all(blocks("first", 100))
    assert index.taken >= 100 * 16, "what an entry takes at least"
    second.put_all(blocks("second", 50))
    with pytest.raises(BusyError) as busy:
        second.put_all(blocks("more", 50))
    assert busy.value.retry_after
    second.close()
    first.put_all(blocks("more", 50))
    first.close()
    assert index.taken == 0


def test_the_index_of_the_largest_car_there_may_be_has_room(tmp_path: Path):
    store = CarStore(MemoryBudget(0), MemoryBudget(INDEX_BYTES), tmp_path)
    store.count = CarLimits().blocks - 8
    store.put_all(blocks("last", 8))
    assert store.spooled
    store.close()


async def test_work_in_a_thread_has_let_go_of_its_store_however_often_it_is_cancelled() -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        goes_on.wait()

    working = asyncio.create_task(in_thread(work))
    try:
        await until(begun.is_set)
        for _ in range(3):
            working.cancel()
            await asyncio.wait([working], timeout=0.05)
            assert not working.done()
    finally:
        goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await working
