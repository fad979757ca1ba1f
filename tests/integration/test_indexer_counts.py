"""Counting large accounts: nobody waits for another's, nothing is counted twice, and nothing hidden is shown again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from headwater.bus.queries import AccountStats, StatsQuery
from headwater.errors import TransientError
from indexer import counts as counts_module
from indexer.counts import Counts
from indexer.database import Database
from indexer_rig import DID, POST
from waiting import until

OTHER_DID = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"


@pytest.fixture
async def table(table: asyncpg.Connection) -> asyncpg.Connection:
    await table.execute("INSERT INTO repo (did) VALUES ($1)", DID)
    await add(table, "a")
    await add(table, "b", OTHER_DID)
    return table


async def add(table: asyncpg.Connection, rkey: str, did: str = DID) -> None:
    await table.execute(
        "INSERT INTO record (did, collection, rkey, cid, rev, created_at, record)"
        " VALUES ($1, $2, $3, $3, 'r', '2024-01-01', '{}')",
        did,
        POST,
        rkey,
    )


@pytest.fixture
async def counts(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Counts]:
    monkeypatch.setattr(counts_module, "_WORTH_KEEPING", -1.0)
    quick, long = Database(migrated_url, "quick", statement_seconds=1), Database(migrated_url, "long")
    made = Counts(quick, long)
    yield made
    await made.close()
    await quick.close()
    await long.close()


async def ask(counts: Counts, did: str = DID, patience_ms: int = 20_000) -> AccountStats:
    return await counts.stats(StatsQuery(did=did, patience_ms=patience_ms))


@asynccontextmanager
async def locked(url: str) -> AsyncIterator[None]:
    """Nobody can read the posts meanwhile: counting takes as long as this lasts."""
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("LOCK TABLE record_post IN ACCESS EXCLUSIVE MODE")
    try:
        yield
    finally:
        await transaction.rollback()
        await connection.close()


async def running(table: asyncpg.Connection) -> list[str]:
    """The connections that count at this moment."""
    found = await table.fetch(
        "SELECT application_name FROM pg_stat_activity"
        " WHERE query LIKE '-- What the table holds%' AND state = 'active' AND datname = current_database()"
    )
    return [row["application_name"] for row in found]


async def test_what_takes_long_is_counted_in_the_background(
    migrated_url: str, table: asyncpg.Connection, counts: Counts
) -> None:
    async with locked(migrated_url):
        first = await ask(counts, patience_ms=10)
        assert (first.counting, first.records, first.counted_at_us) == (True, 0, None)

        async def goes_on() -> bool:
            return "long" in await running(table)

        # Longer than a quick statement may take: it goes on, on the other connection, and once.
        await until(goes_on)
        assert (await ask(counts, patience_ms=10)).counting
        assert await running(table) == ["long"]
    last = await ask(counts)
    assert (last.counting, last.records) == (False, 1)
    assert last.counted_at_us is not None


async def test_figures_are_kept_until_the_account_changes(table: asyncpg.Connection, counts: Counts) -> None:
    first = await ask(counts)
    await add(table, "c")
    assert await ask(counts) == first
    await table.execute("UPDATE repo SET last_backfill_at = now() WHERE did = $1", DID)
    assert (await ask(counts)).records == 2
    await table.execute("UPDATE repo SET excluded = ARRAY[$2] WHERE did = $1", DID, POST)
    assert (await ask(counts)).records == 0
    assert (await ask(counts, OTHER_DID)).records == 1


async def test_what_is_hidden_is_not_shown_while_it_is_counted_anew(
    migrated_url: str, table: asyncpg.Connection, counts: Counts
) -> None:
    assert (await ask(counts)).records == 1
    await table.execute("UPDATE repo SET purging = true WHERE did = $1", DID)
    async with locked(migrated_url):
        assert (await ask(counts, patience_ms=10)).records == 0


async def test_older_figures_bridge_the_time_of_counting(
    migrated_url: str, table: asyncpg.Connection, counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts_module, "KEPT_SECONDS", 0.0)
    first = await ask(counts)
    await add(table, "c")
    async with locked(migrated_url):
        again = await ask(counts, patience_ms=10)
    assert again == first.model_copy(update={"counting": True})
    assert (await ask(counts)).records == 2


async def test_what_is_kept_is_bounded(
    table: asyncpg.Connection, counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts_module, "_MOST_KEPT", 2)
    for number in range(4):
        await ask(counts, f"did:web:{number}.example")
    assert len(counts._kept) == 2


async def test_without_postgres_there_is_no_answer() -> None:
    away = Database("postgresql://127.0.0.1:1/none", "away")
    with pytest.raises(TransientError):
        await Counts(away, away).stats(StatsQuery(did=DID))
