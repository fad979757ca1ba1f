"""How much the table holds of an account. A large one is counted behind the scenes, and its figures are kept a while.

Counting reads every row of the account, which takes a moment for most and many seconds for a few. So each is tried on
a connection where nothing may take long; what does goes to another, where it keeps nobody else waiting.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import asyncpg

from headwater.bus.queries import AccountStats, CollectionCount, MonthCount, StatsQuery
from headwater.cancelling import cancel_and_wait
from headwater.clock import now_us
from headwater.errors import HeadwaterError
from indexer.database import Database, translated
from indexer.statements import SQL

log = logging.getLogger("indexer.counts")

QUICK_SECONDS: Final = 2
"""A count that takes longer than this goes to the other connection."""
LONG_SECONDS: Final = 240
KEPT_SECONDS: Final = 60.0
"""How long figures stand that took long to count. What live commits change meanwhile shows after it."""
_WORTH_KEEPING: Final = 0.5
_MOST_KEPT, _MOST_RUNNING = 256, 64
_COLLECTIONS, _MONTHS = 500, 600
_IN_ALL, _OF_MONTH, _OF_COLLECTION = 3, 2, 1

_Asked = tuple[str, str]
"""An account, and its row's mark (``stats_mark.sql``): with another mark, figures of before are not shown again."""


@dataclass(frozen=True, slots=True)
class _Kept:
    figures: AccountStats
    until: float


class Counts:
    """Counts accounts: on ``quick`` first, on ``long`` what takes longer than its statements may."""

    def __init__(self, quick: Database, long: Database) -> None:
        self._quick = quick
        self._long = long
        self._turn, self._long_turn = asyncio.Lock(), asyncio.Lock()
        self._kept: OrderedDict[_Asked, _Kept] = OrderedDict()
        self._running: dict[_Asked, asyncio.Task[AccountStats]] = {}

    async def stats(self, query: StatsQuery) -> AccountStats:
        """What the table holds of an account: fresh, or kept for less than ``KEPT_SECONDS`` where counting takes long.

        After ``query.patience_ms`` without an end: the figures of before that, or none, with ``counting``; the count
        goes on, and who asks again gets it. Raises TransientError when Postgres is away.
        """
        asked = (query.did, await self._mark(query.did))
        kept = self._kept.get(asked)
        if kept is not None and time.monotonic() < kept.until:
            return kept.figures
        counting = self._running.get(asked)
        if counting is None and len(self._running) < _MOST_RUNNING:
            counting = self._running[asked] = asyncio.create_task(self._count(asked), name=f"count {query.did}")
            counting.add_done_callback(lambda task: self._ended(asked, task))
        if counting is not None:
            await asyncio.wait({counting}, timeout=query.patience_ms / 1000)
            if counting.done():
                return counting.result()
        before = AccountStats(did=query.did, records=0, collections=[]) if kept is None else kept.figures
        return before.model_copy(update={"counting": True})

    async def close(self) -> None:
        """End what is being counted."""
        await cancel_and_wait(self._running.values())

    def _ended(self, asked: _Asked, task: asyncio.Task[AccountStats]) -> None:
        del self._running[asked]
        if not task.cancelled() and (error := task.exception()) is not None:
            # Who waited for it sees it too; nobody may have.
            log.warning("counting %s failed: %s", asked[0], error)

    async def _mark(self, did: str) -> str:
        async with self._turn:
            mark: str = await self._fetchval("stats_mark", did)
        return mark

    async def _count(self, asked: _Asked) -> AccountStats:
        began = time.monotonic()
        figures = await self._counted(asked[0])
        if time.monotonic() - began > _WORTH_KEEPING:
            self._kept[asked] = _Kept(figures, time.monotonic() + KEPT_SECONDS)
            self._kept.move_to_end(asked)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return figures

    async def _counted(self, did: str) -> AccountStats:
        try:
            async with self._turn:
                return await count(await self._quick.connection(), did)
        except _TakesLongError:
            async with self._long_turn:
                return await count(await self._long.connection(), did)

    async def _fetchval(self, name: str, did: str) -> str:
        connection = await self._quick.connection()
        with translated():
            return str(await connection.fetchval(SQL[name], did))


class _TakesLongError(HeadwaterError):
    """The statement was ended because it took longer than the connection allows."""


async def count(connection: asyncpg.Connection, did: str) -> AccountStats:
    """The figures of an account. Raises TransientError when Postgres is away."""
    with translated():
        try:
            async with connection.transaction(readonly=True):
                await connection.execute(SQL["group_by_hash"])
                rows = await connection.fetch(SQL["account_stats"], did, _COLLECTIONS, _MONTHS)
        except asyncpg.QueryCanceledError as error:
            raise _TakesLongError(str(error)) from error
    (total,) = (row for row in rows if row["kind"] == _IN_ALL)
    return AccountStats(
        did=did,
        records=total["records"],
        bytes=total["bytes"] or 0,
        first_at_us=total["first_at"],
        last_at_us=total["last_at"],
        collections=[_collection(row) for row in rows if row["kind"] == _OF_COLLECTION],
        months=[MonthCount(month=row["month"], records=row["records"]) for row in rows if row["kind"] == _OF_MONTH],
        counted_at_us=now_us(),
    )


def _collection(row: asyncpg.Record) -> CollectionCount:
    return CollectionCount(
        collection=row["collection"],
        records=row["records"],
        bytes=row["bytes"],
        first_at_us=row["first_at"],
        last_at_us=row["last_at"],
    )
