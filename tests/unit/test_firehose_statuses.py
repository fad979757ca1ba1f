"""Asking for accounts that no list names: at the pace that the host asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from firehose_backfill.seen_dids import SeenDids
from firehose_backfill.statuses import Statuses
from firehose_backfill.table import Table
from headwater.bus.publish import Publisher
from headwater.http import GuardedHttp, JsonAnswer

DIDS = [f"did:plc:{name * 24}" for name in "abcdefghijklmnopqrst"]


class Host:
    """Answers every getRepoStatus, and says that its window of requests is used up at each ``every``-th."""

    def __init__(self, every: int) -> None:
        self.asked = 0
        self._every = every

    async def get_json(self, url: str, **limits: Any) -> JsonAnswer:
        self.asked += 1
        left = 0 if self.asked % self._every == 0 else 99
        headers = {"RateLimit-Limit": "100", "RateLimit-Remaining": str(left), "RateLimit-Reset": "7"}
        return JsonAnswer(200, headers, {"did": url.rsplit("=", 1)[1].replace("%3A", ":"), "active": True})


class Followed:
    """A table that follows ``DIDS``."""

    async def followed(self) -> AsyncIterator[list[str]]:
        yield DIDS


async def test_a_host_that_has_answered_enough_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("firehose_backfill.listing_client.asyncio.sleep", sleep)
    host = Host(every=5)

    async def nowhere(_: str) -> str | None:
        return None

    statuses = Statuses(
        cast("Table", Followed()), cast("Publisher", None), cast("GuardedHttp", host), nowhere, excluded=()
    )
    assert await statuses.look_for_missing("https://relay.test", SeenDids()) == 0
    assert host.asked == len(DIDS)
    assert len(waits) == len(DIDS) // 5
    assert all(0 < seconds <= 7 for seconds in waits), waits
