"""Blocks stay in memory while all repos together fit the budget, and every byte of it is given back."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.cid import cid_of
from headwater.errors import InvalidInputError, Reason
from repo_backfill.car_store import CarStore, MemoryBudget


def blocks(name: str, count: int) -> list[tuple[bytes, bytes]]:
    made = [f"{name} {number}".encode() * 20 for number in range(count)]
    return [(cid_of(block), block) for block in made]


async def test_what_fits_stays_in_memory_and_what_does_not_goes_to_a_file(tmp_path: Path):
    budget = MemoryBudget(100_000)
    small, large = CarStore(budget, tmp_path / "spool"), CarStore(budget, tmp_path / "spool")
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
    assert budget.taken == 0
    assert list((tmp_path / "spool").iterdir()) == []


def test_what_is_kept_beside_the_blocks_counts_too(tmp_path: Path):
    budget = MemoryBudget(1000)
    store = CarStore(budget, tmp_path)
    assert store.reserve(900)
    assert not store.reserve(200)
    store.put_all(blocks("any", 10))
    assert store.spooled
    store.close()
    assert budget.taken == 0
