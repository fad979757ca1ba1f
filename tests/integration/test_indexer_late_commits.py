"""Commits that come after a snapshot which they are older than, where the relay has kept other ones to itself.

Each test is one order of events. A record was deleted, nobody told of it, and a late commit from before may not make
it rise again: it is dropped, or the repo is out of step and fetched.
"""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg
import msgspec
import pytest

from headwater.bus.messages import BackfillMessage, LiveAccount, LiveCommit, LiveSync
from indexer.live import write_events
from indexer.statements import SQL
from indexer_rig import DID, POST, Key, batch, end, keys, rev, rows, stored, write

A, B = (POST, "a"), (POST, "b")
SECOND = 1_000_000


def commit(number: int, put: Mapping[Key, int] | None = None, delete: tuple[Key, ...] = ()) -> LiveCommit:
    """The commit after the one of the number before. A record's value is its effective time in seconds."""
    return LiveCommit(
        did=DID,
        rev=rev(number),
        data=f"data {number}",
        seq=number,
        at_us=(number + 3_600) * SECOND,
        since=rev(number - 1),
        prev_data=f"data {number - 1}",
        put=rows(put or {}),
        delete=keys(*delete),
    )


def snapshot(
    number: int,
    values: Mapping[Key, int],
    *,
    cutoff: int | None = None,
    held: Mapping[Key, int] | None = None,
    job: str = "job",
    collections: str = "",
) -> list[BackfillMessage]:
    """A snapshot of what is not older than ``cutoff`` seconds; None: of the whole repo."""
    ending = msgspec.structs.replace(
        end(number, batches=1, records=len(values), job=job, whole=cutoff is None),
        data=f"data {number}",
        cutoff_us=None if cutoff is None else cutoff * SECOND,
        collections=collections,
    )
    return [batch(number, values, job=job, held=held, whole=cutoff is None), ending]


async def state(table: asyncpg.Connection) -> tuple[str, str | None]:
    found = await table.fetchrow("SELECT sync_state, desync_reason FROM repo WHERE did = $1", DID)
    assert found is not None
    return found["sync_state"], found["desync_reason"]


async def test_after_the_snapshots_own_commit(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(5, {A: 5}, cutoff=1))
    await write_events(table, [commit(5, {A: 5})])
    await write_events(table, [commit(3, {B: 3})])  # deleted by 4, which is never told
    assert await stored(table) == {A: 5}
    assert await state(table) == ("synchronized", None)


async def test_after_the_resync_that_its_loss_has_brought(table: asyncpg.Connection) -> None:
    await write_events(table, [commit(1, {A: 1}), commit(5, {A: 5})])
    assert await state(table) == ("desynchronized", "gap")
    await write(table, *snapshot(5, {A: 5}, cutoff=1))
    await write_events(table, [commit(3, {B: 3})])
    assert await stored(table) == {A: 5}
    assert await state(table) == ("synchronized", None)


async def test_deletes_count_and_what_the_snapshot_holds_stays(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(5, {A: 5}, cutoff=1))
    await write_events(table, [commit(3, delete=(A, B)), commit(6, {B: 6}), commit(4, {A: 4})])
    assert await stored(table) == {A: 5, B: 6}


async def test_what_lies_outside_the_scope_counts_until_the_repo_is_fetched(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(5, {A: 5}, cutoff=4))
    await write_events(table, [commit(3, {B: 3})])
    assert await stored(table) == {A: 5, B: 3}
    assert await state(table) == ("desynchronized", "late")
    known = await table.fetchrow(SQL["repo_states"], [DID])
    assert (known["scoped_rev"], known["scoped_cutoff"]) == (rev(5), None), "an unchanged repo has to be fetched too"
    await write(table, *snapshot(5, {A: 5}, cutoff=4, job="resync"))
    assert await stored(table) == {A: 5}
    assert await state(table) == ("synchronized", None)
    await write_events(table, [commit(3, {B: 3})])
    assert await stored(table) == {A: 5}
    assert await state(table) == ("synchronized", None)


async def test_what_the_resync_finds_outside_its_scope_stays(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(5, {A: 5}, cutoff=4))
    await write_events(table, [commit(3, {B: 3})])
    await write(table, *snapshot(5, {A: 5}, cutoff=4, held={B: 3}, job="resync"))
    assert await state(table) == ("synchronized", None)
    await write_events(table, [commit(3, {B: 3}), commit(4)])
    assert await stored(table) == {A: 5, B: 3}
    assert await state(table) == ("synchronized", None)


async def test_before_the_snapshot_is_written_and_after_it_was_fetched(table: asyncpg.Connection) -> None:
    """The table had no row when the repo was fetched, so the snapshot brings only the key of what is out of scope."""
    await write_events(table, [commit(3, {B: 3})])  # edited by 4
    await write(
        table,
        batch(5, {A: 5}, beyond=(B,), whole=False),
        msgspec.structs.replace(end(5, batches=1, records=1, whole=False), cutoff_us=4 * SECOND),
    )
    assert await stored(table) == {A: 5, B: 3}
    assert await state(table) == ("desynchronized", "late")
    await write(table, *snapshot(5, {A: 5}, cutoff=4, held={B: 4}, job="resync"))
    assert await stored(table) == {A: 5, B: 4}
    assert await state(table) == ("synchronized", None)


async def test_a_filter_is_a_scope_too(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(5, {}, cutoff=1, collections="app.bsky.graph.*"))
    await write_events(table, [commit(3, {B: 3})])
    assert await stored(table) == {B: 3}
    assert await state(table) == ("desynchronized", "late")


@pytest.mark.parametrize("cutoff", [None, 1])
async def test_a_snapshot_from_before_what_is_missing(table: asyncpg.Connection, cutoff: int | None) -> None:
    await write_events(table, [commit(9, {A: 9})])
    # Its host lags: B was deleted by 7, of which nobody tells.
    await write(table, *snapshot(5, {B: 5}, cutoff=cutoff))
    assert await state(table) == ("desynchronized", "gap")
    await write_events(table, [commit(6), commit(7, delete=(B,)), commit(8)])
    assert await state(table) == ("synchronized", None)
    assert await stored(table) == {A: 9}


async def test_a_sync_over_commits_that_have_undone_themselves(table: asyncpg.Connection) -> None:
    sync = LiveSync(did=DID, rev=rev(3), data="data 1", seq=3, at_us=3)
    await write_events(table, [commit(1, {A: 1}), sync])
    assert await state(table) == ("synchronized", None)
    await write_events(table, [commit(2, {B: 2})])  # deleted by 3
    assert await state(table) == ("desynchronized", "gap")


async def test_after_a_snapshot_of_less_than_the_table_is_to_hold(table: asyncpg.Connection) -> None:
    """Somebody asks for a few days: what was lost before them is still to be missed."""
    await write_events(table, [commit(1, {A: 1})])
    await write(table, *snapshot(5, {}, cutoff=3_600))  # 3 has made B
    assert await state(table) == ("synchronized", None)
    await write_events(table, [commit(6)])
    assert await state(table) == ("desynchronized", "gap")


async def test_replayed_commits_in_disorder(table: asyncpg.Connection) -> None:
    await write_events(table, [commit(5, {A: 5})], replayed=True)
    await write_events(table, [commit(3, {B: 3})], replayed=True)  # deleted by 4
    assert await state(table) == ("desynchronized", "awaits_replay")


async def test_a_snapshot_from_before_an_account_was_away(table: asyncpg.Connection) -> None:
    """What it wrote while it was away is told by nobody: only who asks its host after its return can know."""
    await write_events(table, [commit(1, {A: 1})])
    for at, status in ((3_605, "deactivated"), (3_610, None)):
        told = LiveAccount(did=DID, seq=2, at_us=at * SECOND, active=status is None, status=status)
        await write_events(table, [told])
    before, after = (snapshot(1, {A: 1}, job=job) for job in ("before", "after"))
    await write(table, before[0], msgspec.structs.replace(before[1], at_us=3_604 * SECOND))
    assert await state(table) == ("desynchronized", "returned")
    await write(table, after[0], msgspec.structs.replace(after[1], at_us=3_611 * SECOND))
    assert await state(table) == ("synchronized", None)


async def test_before_a_gap_that_was_filled(table: asyncpg.Connection) -> None:
    await write_events(table, [commit(5), commit(7), commit(6)])
    assert await state(table) == ("synchronized", None)
    await write_events(table, [commit(3, {B: 3})])  # deleted by 4
    assert await state(table) == ("desynchronized", "gap")


async def test_before_a_gap_that_is_open(table: asyncpg.Connection) -> None:
    await write_events(table, [commit(5), commit(7), commit(3, {B: 3}), commit(6)])
    assert await state(table) == ("desynchronized", "gap")


async def test_before_where_a_gap_was_begun_to_be_filled(table: asyncpg.Connection) -> None:
    await write_events(table, [commit(9), commit(7), commit(3, {B: 3}), commit(8), commit(5)])  # deleted by 4
    assert await state(table) == ("desynchronized", "gap")


async def test_a_gap_may_fill_from_either_end(table: asyncpg.Connection) -> None:
    await write_events(table, [commit(1), commit(5), commit(4), commit(2), commit(3)])
    assert await state(table) == ("synchronized", None)
