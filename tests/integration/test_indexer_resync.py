"""Repos that are out of step are asked for, ever more rarely, and in step again by their PDS's own word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import asyncpg
import msgspec
import nats
import nats.errors
import orjson
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from backfill_rig import running, settings_for
from headwater.bus.firehose import PLAN_KEY, REPLAY_KEY, FirehosePlan, PieceState, ReplayProgress
from headwater.bus.firehose_store import FirehoseStore
from headwater.bus.jobs import BackfillRequest, system_request
from headwater.bus.messages import LiveAccount, LiveBatch, LiveBroken, LiveCommit, LiveEvent, encode
from headwater.bus.queries import AccountQuery, FetchAnewAsked
from headwater.bus.streams import BUCKET_CONTROL, BUCKET_FIREHOSE, STREAM_REQUESTS
from headwater.bus.subjects import FETCH_ANEW, RequestLane, live_subject, replay_subject, request_subject
from headwater.clock import now_us
from headwater.errors import Reason, TransientError
from indexer.database import Database, connect
from indexer.live import write_events
from indexer.resync import Resyncs
from indexer.statements import SQL
from indexer.sync_rules import RESYNC_SECONDS, Desync
from indexer_rig import DID, POST, batch, end, migrated, rev, rows, running_indexer, snapshot, stored, write
from simulator.account import Account
from simulator.world import World
from waiting import until

A, B = (POST, "a"), (POST, "b")


@pytest.fixture
async def tables(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with migrated(database_url) as connection:
        yield connection


@pytest.fixture
async def resyncs(js: JetStreamContext, tables: asyncpg.Connection, database_url: str) -> AsyncIterator[Resyncs]:
    database = Database(database_url, "resync")
    firehose = FirehoseStore(await js.key_value(BUCKET_CONTROL), await js.key_value(BUCKET_FIREHOSE))
    yield Resyncs(database, js, firehose)
    await database.close()


def broken(did: str = DID, at_us: int = 100) -> LiveBroken:
    return LiveBroken(did=did, seq=1, at_us=at_us, rev=None, reason=Reason.BAD_SIGNATURE)


def live(number: int, before: int, at_us: int = 0) -> LiveCommit:
    return LiveCommit(
        did=DID,
        rev=rev(number),
        data=f"data {number}",
        seq=1,
        at_us=at_us,
        since=rev(before),
        prev_data=f"data {before}",
        put=rows({A: number}),
    )


async def make_due(tables: asyncpg.Connection) -> None:
    await tables.execute("UPDATE repo SET resync_at = now() WHERE resync_at IS NOT NULL")


async def requests(js: JetStreamContext) -> list[BackfillRequest]:
    last = (await js.stream_info(STREAM_REQUESTS)).state.last_seq
    found = [await js.get_msg(STREAM_REQUESTS, seq) for seq in range(1, last + 1)]
    return [BackfillRequest.model_validate_json(message.data or b"") for message in found]


async def test_what_is_out_of_step_is_asked_for_once_in_a_while(
    resyncs: Resyncs, js: JetStreamContext, tables: asyncpg.Connection
) -> None:
    await write_events(tables, [broken()])
    assert await resyncs.file_due() == 0  # what is missing may come yet
    for tries, seconds in enumerate(RESYNC_SECONDS[:3], start=1):
        await make_due(tables)
        before = now_us()
        assert await resyncs.file_due() == 1
        assert await resyncs.file_due() == 0
        repo = await tables.fetchrow("SELECT resync_tries, resync_at FROM repo")
        assert repo is not None
        assert repo["resync_tries"] == tries
        assert repo["resync_at"] - before >= seconds * 1_000_000
    [request] = await requests(js)  # the others found it waiting
    assert (request.did, request.lane, request.requested_by) == (DID, RequestLane.RESYNC, "system")
    assert request.cutoff_us == 100 - 600_000_000


async def test_amid_the_replay_nobody_is_looked_at_whom_it_may_complete(
    tables: asyncpg.Connection, database_url: str
) -> None:
    """They may be as many as have written since it began."""
    await tables.execute(
        "INSERT INTO repo (did, sync_state, desync_reason, resync_at)"
        " SELECT 'did:web:' || n, 'desynchronized', CASE WHEN n % 100 = 0 THEN 'broken' ELSE 'awaits_replay' END,"
        " now() - interval '1 hour' FROM generate_series(1, 2000) AS n"
    )
    connection = await connect(database_url, "resync")
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE take (bigint, integer, bigint[], boolean) AS {SQL['take_due_resyncs']}")
    for amid_replay, taken in ((True, 20), (False, 1980)):
        take = f"EXECUTE take ({now_us()}, 10000, '{{3600}}', {amid_replay})"
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {take}")
        scans = list(reads_of_repo(orjson.loads(plan)[0]["Plan"]))
        assert sum(scan["Actual Rows"] * scan["Actual Loops"] for scan in scans) == 2 * taken, "found, and written"
        assert not [scan for scan in scans if scan.get("Rows Removed by Filter")]
    await connection.close()


def reads_of_repo(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a plan that read the table and were carried out."""
    if node.get("Relation Name") == "repo" and node["Node Type"].endswith("Scan") and node["Actual Loops"]:
        yield node
    for below in node.get("Plans", []):
        yield from reads_of_repo(below)


@pytest.mark.parametrize("whole", [True, False])
async def test_the_scope_is_what_the_table_is_to_hold(
    resyncs: Resyncs, js: JetStreamContext, tables: asyncpg.Connection, whole: bool
) -> None:
    if whole:
        await write(tables, *snapshot(1, {A: 1}))
    await write_events(tables, [broken()])
    await make_due(tables)
    assert await resyncs.file_due() == 1
    [request] = await requests(js)
    assert (request.cutoff_us, request.days) == ((None, 0) if whole else (100 - 600_000_000, 3650))


@pytest.mark.parametrize(("days", "cutoff_us", "wanted"), [(30, -7, -7), (-1, None, None), (0, None, 100)])
async def test_a_deleted_account_that_returns_gets_what_everybody_gets(
    resyncs: Resyncs,
    js: JetStreamContext,
    tables: asyncpg.Connection,
    days: int,
    cutoff_us: int | None,
    wanted: int | None,
) -> None:
    """Its crawl was before; nothing of that counts any more."""
    plan = FirehosePlan(
        plan_id="plan",
        days=days,
        cutoff_us=None if cutoff_us is None else cutoff_us - 600_000_000,
        requested_at_us=1,
        requested_by="environment",
    )
    await (await js.key_value(BUCKET_CONTROL)).put(PLAN_KEY, plan.model_dump_json().encode())
    await write(tables, batch(1, {A: 1}, whole=False), end(1, batches=1, records=1, whole=False))
    for at_us, status in ((100, "deleted"), (101, None)):
        account = LiveAccount(did=DID, seq=2, at_us=at_us, active=status is None, status=status)
        await write_events(tables, [account])
    await make_due(tables)
    assert await resyncs.file_due() == 1
    [request] = await requests(js)
    assert request.cutoff_us == (None if wanted is None else wanted - 600_000_000)


async def test_who_is_not_active_or_opted_out_is_not_asked_for(resyncs: Resyncs, tables: asyncpg.Connection) -> None:
    gone, out = "did:plc:gggggggggggggggggggggggg", "did:plc:oooooooooooooooooooooooo"
    await tables.execute("INSERT INTO repo (did, opted_out) VALUES ($1, true)", out)
    await write_events(tables, [broken(gone), broken(out)])
    await write_events(tables, [LiveAccount(did=gone, seq=2, at_us=200, active=False, status="deactivated")])
    await make_due(tables)
    assert await resyncs.file_due() == 0
    await write_events(tables, [LiveAccount(did=gone, seq=3, at_us=300, active=True)])
    await make_due(tables)
    assert await resyncs.file_due() == 1


async def test_a_bounded_number_waits_and_the_rest_is_filed_when_there_is_room(
    js: JetStreamContext, tables: asyncpg.Connection, database_url: str
) -> None:
    database = Database(database_url, "resync")
    firehose = FirehoseStore(await js.key_value(BUCKET_CONTROL), await js.key_value(BUCKET_FIREHOSE))
    resyncs = Resyncs(database, js, firehose, most_waiting=3)
    await write_events(tables, [broken(f"did:plc:{letter * 24}") for letter in "abcde"])
    await make_due(tables)
    assert [await resyncs.file_due() for _ in range(3)] == [3, 0, 0]
    assert await tables.fetchval("SELECT count(*) FROM repo WHERE resync_at <= now() AND resync_tries = 0") == 2
    first = (await requests(js))[0]
    await js.purge_stream(STREAM_REQUESTS, subject=request_subject(RequestLane.RESYNC, first.did))
    assert [await resyncs.file_due() for _ in range(2)] == [1, 0]
    await js.purge_stream(STREAM_REQUESTS)
    assert [await resyncs.file_due() for _ in range(2)] == [1, 0]
    await database.close()


async def test_what_the_replay_may_bring_is_not_fetched(
    resyncs: Resyncs, js: JetStreamContext, tables: asyncpg.Connection
) -> None:
    await write_events(tables, [live(1, 0)], replayed=True)
    await write_events(tables, [live(4, 3)])
    await make_due(tables)
    bucket = await js.key_value(BUCKET_FIREHOSE)
    progress = ReplayProgress(plan_id="plan", state=PieceState.RUNNING)
    await bucket.put(REPLAY_KEY, progress.model_dump_json().encode())
    assert await resyncs.file_due() == 0
    done = progress.model_copy(update={"state": PieceState.DONE})
    await bucket.put(REPLAY_KEY, done.model_dump_json().encode())
    await js.publish(replay_subject(DID), b"not written yet")
    assert await resyncs.file_due() == 0
    await js.purge_stream("RECORDS_REPLAY")
    assert await resyncs.file_due() == 1
    assert await tables.fetchval("SELECT desync_reason FROM repo") == Desync.AWAITS_REPLAY


async def test_what_the_replay_brings_from_outside_a_scope_is_fetched_once_after_it(
    resyncs: Resyncs, js: JetStreamContext, tables: asyncpg.Connection
) -> None:
    done = msgspec.structs.replace(end(5, batches=1, records=1, whole=False), cutoff_us=4_000_000)
    await write(tables, batch(5, {A: 5}, whole=False), done)
    await write_events(tables, [msgspec.structs.replace(live(3, 2), put=rows({B: 3}))], replayed=True)
    await make_due(tables)
    assert await tables.fetchval("SELECT desync_reason FROM repo") == Desync.LATE
    bucket = await js.key_value(BUCKET_FIREHOSE)
    for state, due in ((PieceState.RUNNING, 0), (PieceState.DONE, 1)):
        await bucket.put(REPLAY_KEY, ReplayProgress(plan_id="plan", state=state).model_dump_json().encode())
        assert await resyncs.file_due() == due


async def test_a_bus_that_is_away_costs_no_try(
    resyncs: Resyncs, js: JetStreamContext, tables: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write_events(tables, [broken()])
    await make_due(tables)
    with monkeypatch.context() as away:
        away.setattr(js, "publish", AsyncMock(side_effect=nats.errors.TimeoutError))
        assert await resyncs.file_due() == 1
    repo = await tables.fetchrow("SELECT resync_tries, resync_at FROM repo")
    assert repo is not None
    assert (repo["resync_tries"], repo["resync_at"] > now_us()) == (0, True)
    await make_due(tables)
    await js.delete_stream(STREAM_REQUESTS)
    with pytest.raises(TransientError):
        await resyncs.file_due()
    assert await tables.fetchval("SELECT count(*) FROM repo WHERE resync_at <= now() AND resync_tries = 0") == 1


async def publish(js: JetStreamContext, *events: LiveEvent, replayed: bool = False) -> None:
    subject = (replay_subject if replayed else live_subject)(events[0].did)
    await js.publish(subject, encode(LiveBatch(relay="wss://relay.test", events=list(events))))


async def table(tables: asyncpg.Connection, did: str) -> dict[tuple[str, str], str]:
    found = await tables.fetch("SELECT collection, rkey, cid FROM record WHERE did = $1", did)
    return {(row["collection"], row["rkey"]): row["cid"] for row in found}


async def test_both_lanes_write_and_a_repo_out_of_step_is_mended_from_its_pds(
    js: JetStreamContext, nats_url: str, database_url: str, tmp_path: Path
) -> None:
    """The whole way: refused frame, request, snapshot, table."""
    async with World(seed=5, now_us=now_us(), hosts=1) as world:
        account: Account = world.add_account()
        account.seed_records(20)
        settings = settings_for(nats_url, world.plc.url, tmp_path)
        async with running_indexer(nats_url, database_url, tmp_path) as indexer, running(settings):
            await indexer.until_ready()
            async with migrated(database_url) as tables:
                await publish(js, live(3, 2, at_us=3))
                await publish(js, live(2, 1, at_us=2), replayed=True)
                await until(lambda: _is(tables, DID, rev(3), 2))
                assert await stored(tables) == {A: 3}

                await publish(js, broken(account.did, at_us=1))
                await until(lambda: _in_step(tables, account.did))
                assert await table(tables, account.did) == account.expected_cids()
                account.post("after the resync")
                await publish(js, broken(account.did, at_us=now_us()))
                await until(lambda: _out_of_step(tables, account.did))
                await asyncio.sleep(0.5)
                assert not await _in_step(tables, account.did)  # asked for a moment ago: it has to wait
                # Somebody asks, and need not wait.
                request = system_request(RequestLane.USER, account.did, None, now_us())
                payload = orjson.dumps(request.model_dump(mode="json"))
                await js.publish(request_subject(request.lane, request.did), payload)
                await until(lambda: _in_step(tables, account.did))
                assert await table(tables, account.did) == account.expected_cids()


async def test_a_repo_is_asked_for_anew_with_what_the_table_is_to_hold(
    js: JetStreamContext, client: Client, nats_url: str, database_url: str, tmp_path: Path
) -> None:
    """As operators do who retry a dead letter."""
    other, stranger = "did:plc:oooooooooooooooooooooooo", "did:plc:ssssssssssssssssssssssss"

    async def asked(did: str) -> BackfillRequest | None:
        answer = await client.request(FETCH_ANEW, AccountQuery(did=did).model_dump_json().encode(), timeout=10)
        return FetchAnewAsked.model_validate_json(answer.data).request

    async with running_indexer(nats_url, database_url, tmp_path) as indexer:
        await indexer.until_ready()
        async with migrated(database_url) as tables:
            await write(tables, *snapshot(1, {A: 1}))
            await write_events(tables, [broken(other, at_us=now_us())])
            found = [await asked(did) for did in (DID, other, stranger)]
            assert await asked(DID) is None, "it waits already"
    whole, scoped, unknown = (one for one in found if one is not None)
    assert (whole.did, whole.lane, whole.requested_by, whole.anew) == (DID, RequestLane.RESYNC, "operator", True)
    assert (whole.cutoff_us, whole.days) == (None, 0)
    assert (scoped.did, scoped.days) == (other, 1)
    assert (unknown.did, unknown.cutoff_us) == (stranger, None)
    assert {request.job_id for request in await requests(js)} == {whole.job_id, scoped.job_id, unknown.job_id}


async def _is(tables: asyncpg.Connection, did: str, at: str, tracked_from: int) -> bool:
    repo = await tables.fetchrow("SELECT rev, tracked_from FROM repo WHERE did = $1", did)
    return repo is not None and (repo["rev"], repo["tracked_from"]) == (at, tracked_from)


async def _out_of_step(tables: asyncpg.Connection, did: str) -> bool:
    return not await _in_step(tables, did)


async def _in_step(tables: asyncpg.Connection, did: str) -> bool:
    return await tables.fetchval("SELECT sync_state FROM repo WHERE did = $1", did) == "synchronized"


async def test_an_indexer_that_is_killed_leaves_nobody_out_of_step(
    js: JetStreamContext, nats_url: str, database_url: str, tmp_path: Path
) -> None:
    """What the dead one held comes after what was never delivered: that is late, and not missing."""
    dids = [f"did:plc:{number:024d}" for number in range(20)]

    def written(did: str, number: int) -> LiveCommit:
        made = live(number, number - 1, at_us=number)
        return msgspec.structs.replace(made, did=did, put=rows({(POST, str(number)): number}))

    async def follow(first: int, last: int) -> None:
        for number in range(first, last):
            await asyncio.gather(*(publish(js, written(did, number)) for did in dids))

    async with running_indexer(nats_url, database_url, tmp_path) as dying:
        await dying.until_ready()
        await follow(1, 10)
        async with migrated(database_url) as tables:
            # It holds messages that it cannot write, and dies with them.
            async with tables.transaction():
                await tables.execute("LOCK TABLE repo IN EXCLUSIVE MODE")
                await follow(10, 20)
                await asyncio.sleep(0.5)
                dying.process.kill()
                await dying.process.wait()
            await follow(20, 30)
            async with running_indexer(nats_url, database_url, tmp_path) as indexer:
                await indexer.until_ready()
                await until(lambda: _has_rows(tables, 29 * len(dids)))
            assert await tables.fetchval("SELECT count(*) FROM repo WHERE sync_state <> 'synchronized'") == 0
            assert await tables.fetchval("SELECT sum(resync_tries) FROM repo") == 0


async def _has_rows(tables: asyncpg.Connection, wanted: int) -> bool:
    return await tables.fetchval("SELECT count(*) FROM record") == wanted
