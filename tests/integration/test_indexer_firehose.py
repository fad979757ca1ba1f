"""What the events of the firehose do to the tables of a real Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec
import pytest

from headwater.bus.messages import (
    LiveAccount,
    LiveBroken,
    LiveCommit,
    LiveEvent,
    LiveIdentity,
    LiveSync,
    Outcome,
)
from headwater.clock import now_us
from headwater.errors import Reason
from indexer.database import connect
from indexer.live import write_events
from indexer.migrate import migrate, migrations
from indexer.purge import purge_some
from indexer.snapshots import Group, write_snapshots
from indexer.state import Track
from indexer_rig import (
    DID,
    LIKE,
    POST,
    batch,
    commit,
    end,
    rev,
    rows,
    snapshot,
    stored,
    write,
)

A, B, C = (POST, "a"), (POST, "b"), (LIKE, "c")
OTHER_DID = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"


def chained(number: int, before: int, **fields: object) -> LiveCommit:
    return LiveCommit(
        did=DID,
        rev=rev(number),
        data=f"data {number}",
        seq=number,
        at_us=number,
        since=rev(before),
        prev_data=f"data {before}",
        **fields,  # type: ignore[arg-type]
    )


def account(at_us: int, status: str | None = None, did: str = DID) -> LiveAccount:
    return LiveAccount(did=did, seq=1, at_us=at_us, active=status is None, status=status)


async def state(table: asyncpg.Connection, did: str = DID) -> asyncpg.Record:
    found = await table.fetchrow("SELECT * FROM repo WHERE did = $1", did)
    assert found is not None
    return found


async def test_a_break_writes_its_rows_and_marks_the_repo(table: asyncpg.Connection) -> None:
    await write_events(table, [chained(1, 0, put=rows({A: 1})), chained(2, 1, put=rows({B: 1}))])
    assert (await state(table))["sync_state"] == "synchronized"
    await write_events(table, [chained(5, 4, put=rows({A: 2}))])
    repo = await state(table)
    assert (repo["sync_state"], repo["desync_reason"], repo["desync_rev"]) == ("desynchronized", "gap", rev(5))
    assert await stored(table) == {A: 2, B: 1}


async def test_a_rolled_back_group_leaves_the_chain_as_it_was(table: asyncpg.Connection) -> None:
    await write_events(table, [chained(1, 0, put=rows({A: 1}))])
    with pytest.raises(asyncpg.DataError):
        bad = rows({B: 1})
        bad.record[0] = "{"
        await write_events(table, [chained(5, 4, put=bad)])
    repo = await state(table)
    assert (repo["sync_state"], repo["rev"]) == ("synchronized", rev(1))


async def test_replayed_commits_write_rows_and_leave_the_chain(table: asyncpg.Connection) -> None:
    await write_events(table, [chained(5, 4, put=rows({A: 5}))])
    await write_events(table, [chained(3, 2, put=rows({A: 2, B: 2})), chained(4, 3)], replayed=True)
    repo = await state(table)
    assert (repo["sync_state"], repo["rev"], repo["data"]) == ("synchronized", rev(5), "data 5")
    assert repo["tracked_from"] == 3
    assert await stored(table) == {A: 5, B: 2}


async def test_a_snapshot_that_reaches_the_break_mends_it_and_a_staler_one_does_not(
    table: asyncpg.Connection,
) -> None:
    await write_events(table, [chained(1, 0, put=rows({A: 1})), chained(5, 3, put=rows({B: 5}))])
    await write(table, *snapshot(2, {A: 2}, "stale"))
    assert (await state(table))["sync_state"] == "desynchronized"
    await write(table, *snapshot(5, {A: 4, B: 5}, "fresh"))
    repo = await state(table)
    assert (repo["sync_state"], repo["resync_at"], repo["desync_rev"]) == ("synchronized", None, None)
    assert await stored(table) == {A: 4, B: 5}


async def test_syncs_and_refused_frames_mark_the_repo(table: asyncpg.Connection) -> None:
    sync = LiveSync(did=DID, rev=rev(3), data="else", seq=3, at_us=3)
    broken = LiveBroken(did=OTHER_DID, seq=4, at_us=4, rev=None, reason=Reason.BAD_SIGNATURE)
    await write_events(table, [chained(1, 0, put=rows({A: 1})), sync, broken])
    assert (await state(table))["desync_reason"] == "sync"
    assert (await state(table, OTHER_DID))["desync_reason"] == Reason.BAD_SIGNATURE


@pytest.mark.parametrize("status", ["deactivated", "suspended", "takendown"])
async def test_hidden_accounts_are_not_in_the_views_and_their_commits_are_dropped(
    table: asyncpg.Connection, status: str
) -> None:
    visible = "SELECT count(*) FROM post WHERE did = $1"
    await write_events(table, [chained(1, 0, put=rows({A: 1})), account(2, status), chained(3, 1, put=rows({B: 3}))])
    assert await stored(table) == {A: 1}
    assert await table.fetchval(visible, DID) == 0
    await write_events(table, [account(4)])
    repo = await state(table)
    assert (repo["status"], repo["sync_state"], repo["desync_rev"]) == ("active", "desynchronized", rev(3))
    assert await table.fetchval(visible, DID) == 1


async def test_a_deleted_account_loses_its_rows_some_at_a_time(table: asyncpg.Connection) -> None:
    put = {(POST, f"k{i}"): i for i in range(25)}
    await write_events(table, [chained(1, 0, put=rows(put)), chained(2, 1, delete=batch(1, {}, beyond=(C,)).keys)])
    await write_events(table, [commit(1, {A: 1}, did=OTHER_DID)])
    await write_events(table, [account(now_us(), "deleted")])
    repo = await state(table)
    assert (repo["epoch"], repo["purging"], repo["rev"]) == (1, True, None)
    rounds = 0
    while await purge_some(table, 10):
        rounds += 1
    assert rounds == 4
    assert await stored(table) == {}
    assert await table.fetchval("SELECT count(*) FROM tombstone WHERE did = $1", DID) == 0
    assert not (await state(table))["purging"]
    assert await stored(table, OTHER_DID) == {A: 1}


async def test_what_was_begun_before_a_deletion_writes_nothing(table: asyncpg.Connection) -> None:
    first, last = snapshot(5, {A: 5})
    await write(table, first)
    await write_events(table, [chained(4, 3, put=rows({B: 4}))])  # deferred
    await write_events(table, [account(now_us(), "deleted")])
    result = await write(table, last)
    assert [(job.state, job.reason) for job in result.told] == [("failed", Reason.ACCOUNT_DELETED)]
    await write_events(table, [chained(4, 3, put=rows({B: 4}))], replayed=True)
    while await purge_some(table):
        pass
    assert await stored(table) == {}
    assert await table.fetchval("SELECT count(*) FROM deferred_commit") == 0


async def test_an_account_that_comes_back_does_not_meet_its_old_rows(table: asyncpg.Connection) -> None:
    await write_events(table, [chained(1, 0, put=rows({A: 1, B: 1}))])
    now = now_us()
    await write_events(table, [account(now - 10, "deleted"), account(now - 5)])
    await write(table, batch(7, {A: 1}, epoch=1), end(7, batches=1, records=1, epoch=1))
    while await purge_some(table):
        pass
    assert await stored(table) == {A: 1}


@pytest.mark.parametrize(("asked_at", "status"), [(1, "deactivated"), (3, "active"), (0, "deactivated")])
async def test_a_jobs_word_on_the_account_counts_from_when_its_host_was_asked(
    table: asyncpg.Connection, asked_at: int, status: str
) -> None:
    await write_events(table, [account(2, "deactivated")])
    done = msgspec.structs.replace(end(5, batches=1, records=1), at_us=asked_at)
    await write(table, batch(5, {A: 1}), done)
    assert (await state(table))["status"] == status


async def test_a_job_that_found_the_account_gone_loses_to_a_newer_event(table: asyncpg.Connection) -> None:
    await write_events(table, [account(5)])
    failed = end(1, batches=0, records=0, outcome=Outcome.FAILED, reason=Reason.DEACTIVATED)
    await write(table, msgspec.structs.replace(failed, at_us=4))
    assert (await state(table))["status"] == "active"
    await write(table, msgspec.structs.replace(failed, at_us=6, job="job2"))
    assert (await state(table))["status"] == "deactivated"


async def test_identities(table: asyncpg.Connection) -> None:
    await write_events(table, [LiveIdentity(did=DID, seq=1, at_us=1, handle="a.test", pds="https://pds.test")])
    repo = await state(table)
    assert (repo["handle"], repo["pds"]) == ("a.test", "https://pds.test")


@pytest.mark.parametrize("track", [Track.BACKFILLED, Track.NONE])
async def test_repos_that_are_not_followed_leave_no_trace(table: asyncpg.Connection, track: Track) -> None:
    events: list[LiveEvent] = [chained(1, 0, put=rows({A: 1})), account(2, "deleted")]
    assert await write_events(table, events, track=track) == 0
    assert await table.fetchval("SELECT count(*) FROM repo") == 0


async def test_a_snapshot_makes_a_repo_followed_unless_none_are(table: asyncpg.Connection) -> None:
    for track, did in ((Track.BACKFILLED, DID), (Track.NONE, OTHER_DID)):
        await write_snapshots(table, Group(snapshot(1, {A: 1}, did, did)), track)
        await write_events(table, [commit(2, {B: 2}, did=did)], track=track)
    assert await stored(table) == {A: 1, B: 2}
    assert await stored(table, OTHER_DID) == {A: 1}


async def test_opted_out_accounts_are_not_written(table: asyncpg.Connection) -> None:
    await table.execute("INSERT INTO repo (did, opted_out) VALUES ($1, true)", DID)
    await write_events(table, [chained(1, 0, put=rows({A: 1}))])
    assert await stored(table) == {}


@asynccontextmanager
async def fresh_database(postgres_dsn: str, name: str) -> AsyncIterator[asyncpg.Connection]:
    admin = await asyncpg.connect(postgres_dsn)
    await admin.execute(f"CREATE DATABASE {name}")
    connection = await connect(urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}")), "upgrade", writes=True)
    try:
        yield connection
    finally:
        await connection.close()
        await admin.execute(f"DROP DATABASE {name}")
        await admin.close()


async def test_a_database_from_before_the_firehose_is_brought_along(postgres_dsn: str) -> None:
    before = [m for m in migrations() if m.name < "migrations/0003"]
    assert any(m.name.startswith("collections/") for m in before)
    async with fresh_database(postgres_dsn, "upgrade") as table:
        await migrate(table, before)
        await table.execute("INSERT INTO repo (did, rev, data, floor_rev) VALUES ($1, $2, 'data 1', $2)", DID, rev(1))
        await table.execute("INSERT INTO account_setting (did, opted_out) VALUES ('did:web:a', true)")
        assert "migrations/0003_firehose.sql" in await migrate(table)
        assert await table.fetchval("SELECT did FROM repo WHERE opted_out") == "did:web:a"
        await write_events(table, [chained(2, 1, put=rows({A: 2}))], track=Track.NONE)
        repo = await state(table)
        assert (repo["sync_state"], repo["rev"]) == ("synchronized", rev(2))
        assert await stored(table) == {A: 2}
