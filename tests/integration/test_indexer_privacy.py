"""What accounts decide about their data, on a real Postgres: it holds at once, for every writer and every reader."""

from __future__ import annotations

import asyncio

import asyncpg
import msgspec

from headwater.bus.queries import ChangePrivacy
from headwater.clock import now_us
from headwater.errors import Reason
from headwater.tid import tid_from
from indexer.answers import Answers
from indexer.database import Database, connect
from indexer.live import write_events
from indexer.privacy import write_change
from indexer.privacy_rules import MAX_EXCLUDED
from indexer.purge import purge_some, purge_some_of_collection
from indexer_rig import (
    DID,
    LIKE,
    OTHER,
    POST,
    batch,
    commit,
    end,
    rev,
    snapshot,
    stored,
    write,
)
from waiting import until

A, B, C = (LIKE, "a"), (POST, "b"), (OTHER, "c")
OPT_OUT, OPT_IN = ChangePrivacy(did=DID, opted_out=True), ChangePrivacy(did=DID, opted_out=False)
DELETE = ChangePrivacy(did=DID, delete=True)
EXCLUDE = ChangePrivacy(did=DID, collection=LIKE, excluded=True)
INCLUDE = ChangePrivacy(did=DID, collection=LIKE, excluded=False)
OTHER_DID = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"


async def change(table: asyncpg.Connection, what: ChangePrivacy, jobs: dict[str, int] | None = None) -> str | None:
    refused, _ = await write_change(table, what, jobs or {})
    return refused


async def purge(table: asyncpg.Connection, rows: int = 1) -> int:
    steps = 0
    while await purge_some(table, rows) or await purge_some_of_collection(table, rows):
        steps += 1
    return steps


async def seen(table: asyncpg.Connection, view: str) -> int:
    count: int = await table.fetchval(f'SELECT count(*) FROM "{view}"')
    return count


async def test_opting_out_hides_the_rows_and_drops_what_comes(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(3, {A: 1, B: 2}))
    await write_events(table, [commit(4, {(LIKE, "x"): 1}, did=OTHER_DID)])
    assert await change(table, OPT_OUT) is None
    assert (await seen(table, "like"), await seen(table, "post")) == (1, 0)
    await write_events(table, [commit(5, {C: 3})])
    assert await stored(table) == {A: 1, B: 2}
    assert await change(table, OPT_IN) is None
    assert (await seen(table, "like"), await seen(table, "post")) == (2, 1)
    await write_events(table, [commit(6, {(POST, "d"): 4})])
    assert await stored(table) == {A: 1, B: 2, (POST, "d"): 4}
    assert await table.fetchval("SELECT sync_state FROM repo WHERE did = $1", DID) == "desynchronized"


async def test_a_running_snapshot_ends_as_opted_out(table: asyncpg.Connection) -> None:
    await write(table, batch(3, {A: 1}))
    await write_events(table, [commit(2, {B: 1})])
    assert await table.fetchval("SELECT count(*) FROM deferred_commit") == 1
    _, ended = await write_change(table, OPT_OUT, {"job": 1, "fetching": 2, "long done": 1})
    assert {(job.job_id, job.state, job.attempt, job.reason) for job in ended} >= {
        ("job", "failed", 1, Reason.OPTED_OUT),
        ("fetching", "failed", 2, Reason.OPTED_OUT),
    }
    assert await table.fetchval("SELECT count(*) FROM deferred_commit") == 0
    assert await table.fetchval("SELECT count(*) FROM snapshot_batch") == 0
    await change(table, OPT_IN)
    result = await write(table, batch(3, {B: 2}, index=1), end(3, batches=2, records=2))
    assert [(job.state, job.reason) for job in result.told] == [("failed", Reason.OPTED_OUT)]
    assert await stored(table) == {A: 1}


async def test_a_job_that_is_done_stays_done(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(3, {A: 1}))
    assert (await write_change(table, OPT_OUT, {"job": 1}))[1] == []
    assert await table.fetchval("SELECT state FROM backfill_job") == "done"


async def test_deleting_takes_all_rows_and_nothing_of_before_comes_back(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(3, {A: 1, B: 2, C: 3}))
    await write_events(table, [commit(4, {(LIKE, "x"): 1}, delete=(A,)), commit(4, {A: 1}, did=OTHER_DID)])
    await write(table, batch(5, {B: 2}, job="second"))
    _, ended = await write_change(table, DELETE, {})
    assert [(job.job_id, job.reason) for job in ended] == [("second", Reason.ACCOUNT_DELETED)]
    assert await seen(table, "post") == 0
    assert await purge(table) > 3
    assert await stored(table) == {}
    assert await stored(table, OTHER_DID) == {A: 1}
    for left in ("tombstone", "deferred_commit"):
        assert await table.fetchval(f"SELECT count(*) FROM {left} WHERE did = $1", DID) == 0
    kept = await table.fetchrow(
        "SELECT handle, pds, rev, floor_rev, last_backfill_at, epoch FROM repo WHERE did = $1", DID
    )
    assert tuple(kept) == (None, None, None, None, None, 1)
    await write(table, batch(5, {C: 3}, job="second", index=1), end(5, batches=2, records=2, job="second"))
    await write(table, *snapshot(6, {A: 1}, job="late"))
    await write_events(table, [commit(7, {A: 1})])
    assert await stored(table) == {}


async def test_a_deletion_goes_on_after_a_crash_and_holds_meanwhile(
    migrated_url: str, table: asyncpg.Connection
) -> None:
    await write(table, *snapshot(3, {(LIKE, str(number)): number for number in range(10)}))
    await change(table, DELETE)
    assert await purge_some(table, 3)
    assert await change(table, OPT_IN) == "deletion_running"
    restarted = await connect(migrated_url, "test", writes=True)
    assert await seen(restarted, "like") == 0
    await purge(restarted, 3)
    assert await change(restarted, OPT_IN) is None
    assert await stored(restarted) == {}
    await restarted.close()


async def test_a_deletion_takes_what_is_newer_than_our_clock(table: asyncpg.Connection) -> None:
    ahead = tid_from(now_us() + 60_000_000)
    await write(table, msgspec.structs.replace(batch(3, {A: 1}), rev=ahead))
    await change(table, DELETE)
    await purge(table)
    assert await stored(table) == {}


async def test_nothing_is_fetched_by_itself_after_a_deletion(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(3, {A: 1}))
    await write_events(table, [commit(4, {B: 1}), commit(6, {C: 1})])
    assert await table.fetchval("SELECT sync_state FROM repo") == "desynchronized"
    await change(table, DELETE)
    await purge(table)
    await change(table, OPT_IN)
    assert await table.fetchval("SELECT sync_state FROM repo") == "synchronized"


async def test_what_was_dropped_while_opted_out_does_not_count_later(table: asyncpg.Connection) -> None:
    """A delete that was dropped has left no tombstone: a create from before it must not win when it comes again."""
    created = commit(3, {A: 1})
    await write_events(table, [commit(2, {B: 1})])
    await change(table, OPT_OUT)
    await write_events(table, [created, commit(4, {}, delete=(A,))])
    await change(table, OPT_IN)
    await write_events(table, [created])
    assert await stored(table) == {B: 1}


async def test_after_a_deletion_one_can_start_again(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(3, {A: 1, B: 2}))
    await change(table, DELETE)
    await change(table, DELETE)
    await purge(table)
    await change(table, OPT_IN)
    await write(table, batch(3, {A: 1}, job="new", epoch=2), end(3, batches=1, records=1, job="new", epoch=2))
    assert await stored(table) == {A: 1}
    assert await seen(table, "like") == 1


async def test_an_excluded_collection_goes_and_stays_away(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(3, {A: 1, B: 2}))
    await write_events(table, [commit(4, {}, delete=((LIKE, "gone"),))])
    assert await change(table, EXCLUDE) is None
    assert await change(table, EXCLUDE) is None
    assert (await seen(table, "like"), await seen(table, "post")) == (0, 1)
    assert await change(table, INCLUDE) == "deletion_running"
    await purge(table)
    assert await stored(table) == {B: 2}
    assert await table.fetchval("SELECT count(*) FROM tombstone") == 0
    await write_events(table, [commit(5, {(LIKE, "n"): 1, (POST, "n"): 1})])
    assert await stored(table) == {B: 2, (POST, "n"): 1}
    result = await write(table, *snapshot(6, {A: 1, B: 3, (POST, "n"): 1}, job="again"))
    assert [job.state for job in result.told] == ["done"]
    assert await stored(table) == {B: 3, (POST, "n"): 1}


async def test_a_fresh_import_leaves_excluded_collections_out(table: asyncpg.Connection) -> None:
    await change(table, EXCLUDE)
    await purge(table)
    result = await write(table, *snapshot(3, {A: 1, B: 2}))
    assert [job.state for job in result.told] == ["done"]
    assert await stored(table) == {B: 2}


async def test_what_is_let_in_again_is_fetched_again(table: asyncpg.Connection) -> None:
    await write(table, *snapshot(3, {B: 2}, job="before"))
    await change(table, EXCLUDE)
    await purge(table)
    await write(table, batch(5, {A: 1}))
    _, ended = await write_change(table, INCLUDE, {})
    assert [(job.job_id, job.state) for job in ended] == [("job", "superseded")]
    assert await table.fetchval("SELECT incomplete FROM repo")
    again = [batch(5, {A: 1, B: 2}, attempt=2), end(5, batches=1, records=2, attempt=2)]
    result = await write(table, end(5, batches=1, records=1), *again)
    assert [job.state for job in result.told if job.job_id == "job"] == ["done"]
    assert await stored(table) == {A: 1, B: 2}
    assert not await table.fetchval("SELECT incomplete FROM repo")


async def test_exclusions_are_bounded(table: asyncpg.Connection) -> None:
    await table.execute(
        "INSERT INTO repo (did, excluded) VALUES ($1, $2)", DID, [f"a.b.c{n}" for n in range(MAX_EXCLUDED)]
    )
    assert await change(table, EXCLUDE) == "too_many_excluded"


async def test_a_writer_that_waited_for_the_lock_sees_the_decision(
    migrated_url: str, table: asyncpg.Connection
) -> None:
    """The decision stands in the locked row: one beside it would be read as it was before the wait."""
    await write(table, *snapshot(3, {A: 1}))
    writer = await connect(migrated_url, "writer", writes=True)
    async with table.transaction():
        await table.execute("SELECT FROM repo WHERE did = $1 FOR UPDATE", DID)
        waiting = asyncio.create_task(write_events(writer, [commit(4, {B: 2})]))
        locked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        await until(lambda: table.fetchval(locked))
        await table.execute("UPDATE repo SET opted_out = true WHERE did = $1", DID)
    await waiting
    await writer.close()
    assert await stored(table) == {A: 1}


async def test_the_declaration_about_recommendations_can_be_asked_for(
    migrated_url: str, table: asyncpg.Connection
) -> None:
    assert await table.fetchval("SELECT may_be_recommended($1)", DID)
    await table.execute("INSERT INTO repo (did) VALUES ($1)", DID)
    await table.execute(
        "INSERT INTO record (did, collection, rkey, cid, rev, created_at, record) VALUES"
        " ($1, 'app.bsky.actor.contentVisibilityDeclaration', 'self', 'c', $2, now(), $3)",
        DID,
        rev(1),
        '{"hideFromAlgorithmicRecommendations": true}',
    )
    assert not await table.fetchval("SELECT may_be_recommended($1)", DID)
    database = Database(migrated_url, "answers")
    assert not (await Answers(database).account_settings(DID)).may_be_recommended
    assert (await Answers(database).account_settings("did:web:nobody.example")).may_be_recommended
    await database.close()
