"""Snapshots with a cutoff, and what only a job of the user's own moves; on a real Postgres."""

from __future__ import annotations

import asyncpg
import pytest
from msgspec.structs import replace

from headwater.bus.subjects import RequestLane
from indexer.live import write_events
from indexer_rig import LIKE, POST, batch, commit, end, rev, state_of, stored, write

A, B = (LIKE, "a"), (LIKE, "b")


async def test_a_scoped_snapshot_refreshes_what_is_held_and_sweeps_what_vanished(table: asyncpg.Connection) -> None:
    old, gone, unknown = (POST, "old"), (POST, "gone"), (POST, "unknown")
    await write_events(table, [commit(1, {A: 1, old: 1, gone: 1})])
    scoped = batch(5, {A: 5}, held={old: 3, unknown: 3}, beyond=((POST, "never"),), whole=False)
    result = await write(table, scoped, replace(end(5, batches=1, records=1, whole=False), cutoff_us=4_000_000))
    assert state_of(result) == "done"
    assert await stored(table) == {A: 5, old: 3}
    # No floor: a late commit of what vanished meets a tombstone, one of what is out of scope still counts.
    await write_events(table, [commit(2, {gone: 2}), commit(4, {unknown: 3})])
    assert await stored(table) == {A: 5, old: 3, unknown: 3}
    repo = await table.fetchrow("SELECT floor_rev, scoped_rev, scoped_cutoff FROM repo")
    assert tuple(repo) == (None, rev(5), 4_000_000)


async def test_keys_out_of_scope_are_not_swept(table: asyncpg.Connection) -> None:
    await write_events(table, [commit(1, {A: 1, B: 1})])
    await write(table, batch(5, {A: 1}, beyond=(B,), whole=False), end(5, batches=1, records=1, whole=False))
    assert await stored(table) == {A: 1, B: 1}


async def test_a_late_delete_does_not_undo_what_a_scoped_snapshot_confirmed(table: asyncpg.Connection) -> None:
    await write_events(table, [commit(1, {A: 1})])
    await write(table, batch(5, {A: 1}, whole=False), end(5, batches=1, records=1, whole=False))
    await write_events(table, [commit(3, delete=(A,))])
    assert await stored(table) == {A: 1}


@pytest.mark.parametrize("lane", list(RequestLane))
async def test_only_a_job_that_somebody_asked_for_is_a_backfill_of_the_account(
    table: asyncpg.Connection, lane: RequestLane
) -> None:
    """A crawl that moved ``last_backfill_at`` would put a user who never asked into cooldown."""
    await write(table, batch(3, {A: 1}), replace(end(3, batches=1, records=1, days=30), lane=lane.value))
    backfill = await table.fetchrow("SELECT last_backfill_at IS NOT NULL, last_backfill_days FROM repo")
    assert tuple(backfill) == ((True, 30) if lane is RequestLane.USER else (False, None))
