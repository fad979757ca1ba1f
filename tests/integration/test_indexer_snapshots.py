"""The rules of writing, one by one, on a real Postgres; ``tests/property/test_convergence.py`` attacks them all."""

from __future__ import annotations

import asyncpg
import pytest
from msgspec.structs import replace

from headwater.bus.messages import Outcome
from headwater.errors import InvariantError, Reason
from indexer.live import write_events
from indexer.snapshots import EndContext, Group, write_snapshots
from indexer_rig import (
    DID,
    LIKE,
    OTHER,
    batch,
    commit,
    end,
    rev,
    snapshot,
    state_of,
    stored,
    write,
)

A, B, C = (LIKE, "a"), (LIKE, "b"), (OTHER, "c")


async def count(table: asyncpg.Connection, name: str) -> int:
    found: int = await table.fetchval(f"SELECT count(*) FROM {name}")
    return found


async def test_a_first_snapshot_is_copied_and_ends_the_job(table: asyncpg.Connection) -> None:
    result = await write(table, *snapshot(3, {A: 1, C: 2}))
    assert (result.copied, result.merged, state_of(result)) == (2, 0, "done")
    assert await stored(table) == {A: 1, C: 2}
    repo = await table.fetchrow("SELECT * FROM repo")
    assert (repo["floor_rev"], repo["swept_rev"], repo["rev"], repo["data"]) == (rev(3), rev(3), rev(3), "bafyroot")
    assert repo["snapshot_job"] is None
    assert repo["last_backfill_at"] is not None
    assert await count(table, "snapshot_batch") == 0


async def test_a_redelivered_batch_counts_once(table: asyncpg.Connection) -> None:
    first = batch(3, {A: 1})
    await write(table, first)
    result = await write(table, first, first, batch(3, {B: 1}, index=1), end(3, batches=2, records=2))
    assert result.dropped == 2
    assert state_of(result) == "done"
    assert await table.fetchval("SELECT records FROM backfill_job") == 2


async def test_a_batch_that_comes_beside_the_late_end_of_an_attempt_given_up_counts_once(
    table: asyncpg.Connection,
) -> None:
    first = batch(3, {A: 1}, attempt=2)
    await write(table, end(3, batches=1, records=1, attempt=1), first)
    result = await write(table, first, batch(3, {B: 1}, attempt=2, index=1))
    assert result.dropped == 1
    ended = await write(table, end(3, batches=2, records=2, attempt=2))
    assert state_of(ended) == "done"
    assert await count(table, "snapshot_batch") == 0


async def test_a_job_of_one_transaction_leaves_no_batches_and_takes_none_again(table: asyncpg.Connection) -> None:
    for number, job in ((3, "fresh"), (4, "held")):
        messages = snapshot(number, {A: number}, job=job)
        assert state_of(await write(table, *messages), job) == "done"
        assert await count(table, "snapshot_batch") == 0
        again = await write(table, *messages)
        assert (state_of(again, job), again.dropped, again.copied, again.merged) == ("done", 1, 0, 0)
    assert await stored(table) == {A: 4}


async def test_an_end_that_comes_again_tells_the_same_and_moves_nothing(table: asyncpg.Connection) -> None:
    said = replace(end(3, batches=1, records=1), rejected={Reason.RECORD_CBOR.value: 2})
    first = await write(table, batch(3, {A: 1}), said)
    at = await table.fetchval("SELECT last_backfill_at FROM repo")
    again = await write(table, said)
    for told in (*first.told, *again.told):
        assert (told.state, told.rev, told.rejected) == ("done", rev(3), {"record_cbor": 2})
    assert await table.fetchval("SELECT last_backfill_at FROM repo") == at


async def test_an_end_waits_for_its_batches(table: asyncpg.Connection) -> None:
    early = await write(table, end(3, batches=2, records=2), batch(3, {A: 1}))
    assert early.waiting == {0}
    assert state_of(early) == "indexing"
    late = await write(table, batch(3, {B: 1}, index=1), end(3, batches=2, records=2))
    assert state_of(late) == "done"


async def test_an_end_whose_batches_never_come_fails_the_job(table: asyncpg.Connection) -> None:
    ends = {"job": EndContext(exhausted=True)}
    result = await write_snapshots(table, Group([end(3, batches=2, records=2)], ends))
    assert state_of(result) == "failed"
    assert result.told[0].reason is Reason.MESSAGE_MALFORMED


async def test_totals_that_do_not_agree_fail_the_job(table: asyncpg.Connection) -> None:
    result = await write(table, batch(3, {A: 1}), end(3, batches=1, records=5))
    assert (state_of(result), result.told[0].reason) == ("failed", Reason.MESSAGE_MALFORMED)


async def test_what_vanished_is_swept_and_what_is_newer_stays(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(3, {A: 1, B: 1}))
    await write_events(table, [commit(9, {C: 9})])
    result = await write(table, *snapshot(5, {A: 1}, job="second"))
    assert await stored(table) == {A: 1, C: 9}
    assert next(job.deleted for job in result.told if job.job_id == "second") == 1


async def test_an_unchanged_import_touches_no_row(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(3, {A: 1, B: 1, C: 1}))
    before = await table.fetch("SELECT ctid, xmin, rev FROM record ORDER BY rkey")
    result = await write(table, *snapshot(5, {A: 1, B: 1, C: 1}, job="second"))
    assert (result.copied, result.merged) == (0, 0)
    assert await table.fetch("SELECT ctid, xmin, rev FROM record ORDER BY rkey") == before


async def test_a_changed_record_is_replaced_and_a_confirmed_one_keeps_its_time(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(3, {A: 1, B: 1}))
    await table.execute("UPDATE record SET indexed_at = timestamptz 'epoch'")
    scoped = batch(5, {A: 1, B: 2}, job="second", whole=False)
    await write(table, scoped, end(5, batches=1, records=2, job="second", whole=False))
    found = await table.fetch("SELECT rkey, rev, indexed_at = timestamptz 'epoch' AS old FROM record ORDER BY rkey")
    assert [tuple(row) for row in found] == [("a", rev(5), True), ("b", rev(5), False)]


async def test_live_commits_at_or_below_the_floor_are_dropped(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(5, {A: 1}))
    await write_events(table, [commit(4, {B: 1}), commit(5, delete=(A,))])
    assert await stored(table) == {A: 1}
    assert await count(table, "tombstone") == 0


async def test_a_raised_floor_clears_the_tombstones_below_it(table: asyncpg.Connection) -> None:
    await write_events(table, [commit(2, delete=(A,)), commit(8, delete=(B,))])
    await write(table, *snapshot(5, {A: 1, B: 1}))
    assert [row["rkey"] for row in await table.fetch("SELECT rkey FROM tombstone")] == ["b"]
    assert await stored(table) == {A: 1}


async def test_a_reason_of_another_version_fails_the_job_without_one(table: asyncpg.Connection) -> None:
    ended = end(0, batches=0, records=0, outcome=Outcome.FAILED, reason="of_the_future")
    result = await write(table, replace(ended, detail="said \0 so"))
    assert (state_of(result), result.told[0].reason, result.told[0].detail) == ("failed", None, "said  so")


async def test_a_delete_leaves_a_tombstone_that_an_older_create_meets(table: asyncpg.Connection) -> None:
    await write_events(table, [commit(4, delete=(A,))])
    await write_events(table, [commit(3, {A: 1})])
    assert await stored(table) == {}
    await write_events(table, [commit(5, {A: 2})])
    assert await stored(table) == {A: 2}


async def test_a_delete_does_not_touch_a_newer_row(table: asyncpg.Connection) -> None:
    await write_events(table, [commit(5, {A: 2})])
    await write_events(table, [commit(4, delete=(A,))])
    assert await stored(table) == {A: 2}


async def test_a_snapshot_does_not_undo_newer_live_commits(table: asyncpg.Connection) -> None:
    await write_events(table, [commit(7, {A: 7}, delete=(B,))])
    await write(table, *snapshot(5, {A: 1, B: 1, C: 1}))
    assert await stored(table) == {A: 7, C: 1}


async def test_live_commits_within_a_running_snapshot_wait_for_its_end(table: asyncpg.Connection) -> None:
    """A was deleted and made again as it was, before the snapshot: the table's row is older than both."""
    await write_events(table, [commit(1, {A: 1})])
    await write(table, batch(3, {A: 1}))
    await write_events(table, [commit(2, delete=(A,))])
    assert await stored(table) == {A: 1}
    await write(table, end(3, batches=1, records=1))
    await write_events(table, [commit(3, {A: 1})])
    assert await stored(table) == {A: 1}
    assert await count(table, "deferred_commit") == 0


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.FAILED])
async def test_deferred_commits_are_applied_when_the_snapshot_does_not_complete(
    table: asyncpg.Connection, outcome: Outcome
) -> None:
    await write_events(table, [commit(1, {A: 1})])
    await write(table, batch(3, {A: 1}))
    await write_events(table, [commit(2, {B: 2}, delete=(A,))])
    result = await write(table, end(3, batches=1, records=1, outcome=outcome))
    assert state_of(result) == outcome.value
    assert await stored(table) == {B: 2}
    assert await count(table, "deferred_commit") == 0
    assert await table.fetchval("SELECT floor_rev FROM repo") is None


async def test_a_snapshot_that_takes_the_repo_ends_the_one_before_for_good(table: asyncpg.Connection) -> None:
    """The first one's commits are not deferred any more once the second was cancelled, so that it must not complete."""
    await write_events(table, [commit(1, {A: 1})])
    await write(table, batch(3, {A: 1}, job="first"))
    await write(table, batch(3, {A: 1}, job="second"))
    await write(table, end(3, batches=1, records=1, job="second", outcome=Outcome.CANCELLED))
    await write_events(table, [commit(2, delete=(A,))])
    result = await write(table, end(3, batches=1, records=1, job="first"))
    assert state_of(result, "first") == "superseded"
    await write_events(table, [commit(3, {A: 1})])
    assert await stored(table) == {A: 1}


async def test_an_older_snapshot_does_not_write_once_a_newer_one_has_begun(table: asyncpg.Connection) -> None:
    await write(table, batch(5, {A: 1}, job="newer"))
    result = await write(table, batch(3, {A: 1, B: 1}, job="older"), end(3, batches=1, records=2, job="older"))
    assert state_of(result, "older") == "superseded"
    assert state_of(result, "newer") == "indexing"
    done = await write(table, end(5, batches=1, records=1, job="newer"))
    assert state_of(done, "newer") == "done"
    assert await stored(table) == {A: 1}


async def test_an_older_snapshot_does_not_write_after_a_newer_one_was_swept(table: asyncpg.Connection) -> None:
    scoped = batch(5, {A: 1}, whole=False)
    await write(table, scoped, end(5, batches=1, records=1, whole=False))
    result = await write(table, *snapshot(3, {A: 1, B: 1}, job="older"))
    assert state_of(result, "older") == "superseded"
    assert await stored(table) == {A: 1}


async def test_a_new_attempt_starts_counting_anew_and_the_one_before_is_stale(table: asyncpg.Connection) -> None:
    await write(table, batch(3, {A: 1, B: 1}))
    late = batch(3, {C: 1}, index=1)
    await write(table, batch(4, {A: 1}, attempt=2), late)
    result = await write(table, end(3, batches=2, records=3), end(4, batches=1, records=1, attempt=2))
    assert state_of(result) == "done"
    assert await stored(table) == {A: 1}


async def test_a_cancelled_job_keeps_what_was_committed_and_never_sweeps(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(3, {A: 1, B: 1}))
    messages = [batch(5, {A: 2}, job="second"), end(5, batches=1, records=1, job="second")]
    result = await write_snapshots(table, Group(messages, {"second": EndContext(cancelled=True)}))
    assert state_of(result, "second") == "cancelled"
    assert await stored(table) == {A: 2, B: 1}
    late = await write(table, batch(5, {C: 2}, job="second", index=1))
    assert late.dropped == 1
    assert (await stored(table)).get(C) is None


async def test_a_live_commit_ends_the_fast_way_of_a_first_import(table: asyncpg.Connection) -> None:
    await write(table, batch(5, {A: 1}))
    await write_events(table, [commit(7, {B: 7})])
    result = await write(table, batch(5, {B: 1, C: 1}, index=1), end(5, batches=2, records=3))
    assert (result.copied, result.merged) == (0, 1)
    assert await stored(table) == {A: 1, B: 7, C: 1}


async def test_rows_that_another_tool_wrote_do_not_stop_a_first_import(table: asyncpg.Connection) -> None:
    await table.execute(
        "INSERT INTO record (did, collection, rkey, cid, rev, created_at, record)"
        " VALUES ($1, $2, 'a', 'cid0', '1', $3, '{}')",
        DID,
        LIKE,
        0,
    )
    result = await write(table, *snapshot(5, {A: 1, B: 1}))
    assert (result.copied, result.merged, state_of(result)) == (0, 2, "done")
    assert await stored(table) == {A: 1, B: 1}


async def test_an_empty_repo_is_done_and_sweeps(table: asyncpg.Connection) -> None:
    await write_events(table, [commit(1, {A: 1})])
    assert state_of(await write(table, end(5, batches=0, records=0))) == "done"
    assert await stored(table) == {}


async def test_an_unchanged_repo_is_done_without_a_sweep(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(5, {A: 1}))
    result = await write(table, end(5, batches=0, records=0, job="second", outcome=Outcome.UNCHANGED))
    assert (state_of(result, "second"), next(j.unchanged for j in result.told)) == ("done", True)
    assert await stored(table) == {A: 1}


@pytest.mark.parametrize(
    ("reason", "status"), [("deactivated", "deactivated"), ("suspended", "suspended"), ("taken_down", "taken_down")]
)
async def test_accounts_that_are_away_are_hidden_until_they_come_back(
    table: asyncpg.Connection, reason: str, status: str
) -> None:
    await write(table, *snapshot(5, {A: 1}))
    await write(table, end(0, batches=0, records=0, job="second", outcome=Outcome.FAILED, reason=reason))
    assert await table.fetchval("SELECT status FROM repo") == status
    assert await count(table, '"like"') == 0
    assert await stored(table) == {A: 1}
    await write(table, *snapshot(6, {A: 1}, job="third"))
    assert await count(table, '"like"') == 1


async def test_jobs_begun_before_a_deletion_do_not_write(table: asyncpg.Connection) -> None:
    await write(table, batch(3, {A: 1}))
    await table.execute("UPDATE repo SET epoch = epoch + 1")
    await table.execute("DELETE FROM record")
    result = await write(table, batch(3, {B: 1}, index=1), end(3, batches=2, records=2))
    assert (state_of(result), result.told[0].reason) == ("failed", Reason.ACCOUNT_DELETED)
    assert await stored(table) == {}


async def test_accounts_that_opted_out_are_not_written(table: asyncpg.Connection) -> None:
    await table.execute("INSERT INTO repo (did, opted_out) VALUES ($1, true)", DID)
    result = await write(table, *snapshot(3, {A: 1}))
    assert (state_of(result), result.told[0].reason) == ("failed", Reason.OPTED_OUT)
    await write_events(table, [commit(4, {B: 1})])
    assert await stored(table) == {}


async def test_a_job_of_another_account_is_a_broken_invariant(table: asyncpg.Connection) -> None:
    await write(table, batch(3, {A: 1}))
    with pytest.raises(InvariantError, match="is of"):
        await write(table, batch(3, {A: 1}, did="did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"))
