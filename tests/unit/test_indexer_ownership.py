"""A database that takes the question and gives no answer is away, and it is said."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from headwater.cancelling import cancel_and_wait
from headwater.health import Readiness
from indexer.ownership import Ownership
from waiting import until


class Postgres:
    """Gives every partition that is asked for, until it stands still."""

    def __init__(self) -> None:
        self.stands_still = False

    async def connection(self) -> Postgres:
        return self

    async def fetch(self, _: str, partitions: list[int], timeout: float | None = None) -> list[dict[str, int]]:
        """As asyncpg's."""
        async with asyncio.timeout(timeout):
            while self.stands_still:
                await asyncio.sleep(0.01)
        return [{"partition": partition} for partition in partitions]


async def test_a_worker_is_not_ready_while_its_database_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.ownership._ANSWER_SECONDS", 0.05)
    monkeypatch.setattr("indexer.ownership._LOOK_SECONDS", 0.05)
    postgres, readiness = Postgres(), Readiness("postgres", "partitions")
    ownership = Ownership(cast("Any", postgres), (0, 1), readiness)
    running = asyncio.create_task(ownership.run())
    try:
        await until(lambda: readiness.ready and ownership.holds(1), 30)
        postgres.stands_still = True
        await until(lambda: readiness.conditions["postgres"] == "Postgres does not answer", 30)
        assert not ownership.holds(1)
        postgres.stands_still = False
        await until(lambda: readiness.ready and ownership.holds(1), 30)
    finally:
        await cancel_and_wait([running])
