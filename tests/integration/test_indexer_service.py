"""The indexer as a process, on a real NATS and a real Postgres."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from headwater.bus.job_store import JobStore
from headwater.bus.jobs import CancelPart, IndexPart, IndexState
from headwater.bus.messages import BackfillMessage, LiveBatch, Rows, encode
from headwater.bus.streams import (
    BUCKET_JOBS,
    BUCKET_WORKERS,
    STREAM_BACKFILL,
    STREAM_DEAD_LETTERS,
    STREAM_LIVE,
    backfill_consumer,
)
from headwater.bus.subjects import (
    ACCOUNT_SETTINGS,
    ACCOUNT_STATS,
    REPO_STATES,
    backfill_subject,
    live_subject,
    partition,
)
from headwater.presence import living_workers
from headwater_local.ports import take_port
from headwater_local.postgres import EmbeddedPostgres
from headwater_local.program import started
from indexer.database import connect
from indexer_rig import (
    DID,
    LIKE,
    OTHER,
    batch,
    commit,
    end,
    rev,
    rows,
    running_indexer,
    snapshot,
    stored,
)
from servers import scratch_directory
from waiting import until

A, B, C = (LIKE, "a"), (LIKE, "b"), (OTHER, "c")


@pytest.fixture
async def jobs(js: JetStreamContext) -> JobStore:
    return JobStore(await js.key_value(BUCKET_JOBS))


@pytest.fixture
async def table(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(database_url, "test")
    yield connection
    await connection.close()


async def publish(js: JetStreamContext, *messages: BackfillMessage) -> None:
    for message in messages:
        await js.publish(backfill_subject(message.did), encode(message))


async def outcome(jobs: JobStore, job: str = "job", did: str = DID) -> IndexPart:
    found: list[IndexPart] = []

    async def decided() -> bool:
        part = await jobs.index(did, job)
        if part is not None and part.state is not IndexState.INDEXING:
            found.append(part)
        return bool(found)

    await until(decided)
    return found[0]


async def waiting(js: JetStreamContext, stream: str) -> int:
    return (await js.stream_info(stream)).state.messages


async def test_a_snapshot_becomes_rows_and_its_job_is_told(
    nats_url: str, database_url: str, tmp_path: Path, js: JetStreamContext, jobs: JobStore, table: asyncpg.Connection
) -> None:
    async with running_indexer(nats_url, database_url, tmp_path) as worker:
        await worker.until_ready()
        await publish(js, batch(3, {A: 1, C: 2}), end(3, batches=1, records=2, days=30))
        part = await outcome(jobs)
        assert (part.state, part.attempt, part.records_written) == (IndexState.DONE, 1, 2)
        assert await stored(table) == {A: 1, C: 2}
        assert await table.fetchval("SELECT last_backfill_days FROM repo") == 30
        await until(lambda: _is_empty(js, STREAM_BACKFILL))
        assert 'headwater_indexer_rows_written_total{lane="backfill",way="copy"} 2.0' in await worker.metrics()


async def _is_empty(js: JetStreamContext, stream: str) -> bool:
    return await waiting(js, stream) == 0


async def test_questions_are_answered(
    nats_url: str, database_url: str, tmp_path: Path, client: Client, js: JetStreamContext, jobs: JobStore
) -> None:
    async def ask(subject: str, did: str = DID) -> dict[str, object]:
        reply = await client.request(subject, json.dumps({"did": did}).encode(), timeout=30)
        answer: dict[str, object] = json.loads(reply.data)
        return answer

    async def state() -> dict[str, object]:
        """Of the repo, asked for among others."""
        question = {"dids": ["did:plc:stranger", DID, "did:web:stranger.test"]}
        reply = await client.request(REPO_STATES, json.dumps(question).encode(), timeout=30)
        states = {found["did"]: found for found in json.loads(reply.data)["states"]}
        assert set(states) == set(question["dids"])
        found: dict[str, object] = states[DID]
        return found

    async with running_indexer(nats_url, database_url, tmp_path) as worker:
        await worker.until_ready()
        unknown = await state()
        assert (unknown["held"], unknown["floor_rev"], unknown["epoch"]) == (False, None, 0)
        assert (await ask(ACCOUNT_SETTINGS))["status"] == "unknown"
        await publish(js, *snapshot(3, {A: 1, B: 5, C: 2}))
        await outcome(jobs)
        known = await state()
        assert (known["held"], known["floor_rev"]) == (True, rev(3))
        stats = await ask(ACCOUNT_STATS)
        assert stats["records"] == 3
        assert isinstance(stats["collections"], list)
        assert all(count.pop("bytes") > 0 for count in stats["collections"])
        assert stats["collections"] == [
            {"collection": LIKE, "records": 2, "first_at_us": 1_000_000, "last_at_us": 5_000_000},
            {"collection": OTHER, "records": 1, "first_at_us": 2_000_000, "last_at_us": 2_000_000},
        ]
        assert stats["months"] == [{"month": "1970-01", "records": 3}]
        settings = await ask(ACCOUNT_SETTINGS)
        assert (settings["status"], settings["rev"], settings["opted_out"]) == ("active", rev(3), False)
        assert settings["last_backfill_at_us"] is not None


async def test_live_commits_become_rows(
    nats_url: str, database_url: str, tmp_path: Path, js: JetStreamContext, table: asyncpg.Connection
) -> None:
    async with running_indexer(nats_url, database_url, tmp_path) as worker:
        await worker.until_ready()
        message = LiveBatch(relay="r", events=[commit(1, {A: 1, B: 1}), commit(2, {A: 2}, delete=(B,))])
        await js.publish(live_subject(DID), encode(message))

        async def arrived() -> bool:
            return await stored(table) == {A: 2}

        await until(arrived)
        await until(lambda: _is_empty(js, STREAM_LIVE))


async def test_a_cancel_that_comes_before_the_end_is_obeyed(
    nats_url: str, database_url: str, tmp_path: Path, js: JetStreamContext, jobs: JobStore, table: asyncpg.Connection
) -> None:
    await jobs.put_cancel(DID, "job", CancelPart(requested_at_us=1))
    async with running_indexer(nats_url, database_url, tmp_path) as worker:
        await worker.until_ready()
        await publish(js, *snapshot(3, {A: 1}))
        assert (await outcome(jobs)).state is IndexState.CANCELLED
        assert await table.fetchval("SELECT floor_rev FROM repo") is None


async def test_an_end_before_its_batches_comes_again(
    nats_url: str, database_url: str, tmp_path: Path, js: JetStreamContext, jobs: JobStore
) -> None:
    async with running_indexer(nats_url, database_url, tmp_path) as worker:
        await worker.until_ready()
        await publish(js, end(3, batches=1, records=1))

        async def seen() -> bool:
            return await jobs.index(DID, "job") is not None

        await until(seen)
        await publish(js, batch(3, {A: 1}))
        assert (await outcome(jobs)).state is IndexState.DONE


async def test_poison_is_dead_lettered_alone(
    nats_url: str, database_url: str, tmp_path: Path, js: JetStreamContext, jobs: JobStore, table: asyncpg.Connection
) -> None:
    good = rows({A: 1, B: 1, C: 1})
    bad = Rows(good.collection, good.rkey, good.cid, good.created_at, good.subject, [*good.record[:2], "{not json"])
    live = commit(9, did="did:plc:cccccccccccccccccccccccc")
    live = type(live)(did=live.did, rev=live.rev, data="", seq=1, put=bad)
    poisoned = batch(3, {})
    poisoned = type(poisoned)(did=DID, rev=rev(3), job="job", attempt=1, epoch=0, whole=True, batch=0, put=bad)
    # All is there before the worker is, so that it meets the poison in the middle of a group.
    await publish(js, batch(3, {(LIKE, "z"): 1}, index=1), poisoned, end(3, batches=2, records=4))
    await js.publish(backfill_subject(DID), b"\xc1 not MessagePack")
    await js.publish(live_subject(live.did), encode(LiveBatch(relay="r", events=[live])))
    async with running_indexer(nats_url, database_url, tmp_path) as worker:
        await worker.until_ready()
        part = await outcome(jobs)
        assert (part.state, part.records_written) == (IndexState.DONE, 4)
        assert await stored(table) == {A: 1, B: 1, (LIKE, "z"): 1}
        await until(lambda: _is_empty(js, STREAM_BACKFILL))
        await until(lambda: _is_empty(js, STREAM_LIVE))
        assert await stored(table, live.did) == {A: 1, B: 1}
    info = await js.stream_info(STREAM_DEAD_LETTERS, subjects_filter="dead.>")
    assert info.state.subjects == {"dead.record.record_unwritable": 2, "dead.message.message_malformed": 1}
    letter = await js.get_last_msg(STREAM_DEAD_LETTERS, "dead.record.record_unwritable")
    assert letter.headers is not None
    assert letter.headers["Headwater-Rkey"] == "c"
    assert letter.data == b"{not json"


async def test_a_killed_workers_messages_are_redelivered(
    nats_url: str, database_url: str, tmp_path: Path, js: JetStreamContext, jobs: JobStore, table: asyncpg.Connection
) -> None:
    """The first worker is stopped in its tracks while it holds messages, then killed: the second one gets them."""
    async with running_indexer(nats_url, database_url, tmp_path) as first:
        await first.until_ready()
        lock = await connect(database_url, "lock")
        await lock.execute("BEGIN; LOCK TABLE repo IN ACCESS EXCLUSIVE MODE")
        await publish(js, batch(3, {A: 1}))

        async def taken() -> bool:
            info = await js.consumer_info(STREAM_BACKFILL, backfill_consumer(partition(DID)))
            return info.num_ack_pending == 1

        await until(taken)
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
        await lock.close()
    async with running_indexer(nats_url, database_url, tmp_path) as second:
        await second.until_ready()
        await publish(js, end(3, batches=1, records=1))
        assert (await outcome(jobs)).state is IndexState.DONE
        assert await stored(table) == {A: 1}


async def test_workers_share_the_partitions_and_a_second_owner_waits(
    nats_url: str, database_url: str, tmp_path: Path, js: JetStreamContext, jobs: JobStore, table: asyncpg.Connection
) -> None:
    dids = [f"did:plc:{letter * 24}" for letter in "abcdefghijkl"]
    assert len({partition(did) % 2 for did in dids}) == 2
    async with (
        running_indexer(nats_url, database_url, tmp_path, worker_id=0, worker_count=2) as even,
        running_indexer(nats_url, database_url, tmp_path, worker_id=1, worker_count=2) as odd,
    ):
        await even.until_ready()
        await odd.until_ready()
        for did in dids:
            await publish(js, *snapshot(3, {A: 1}, job=f"job-{did[-1]}", did=did))
        for did in dids:
            assert (await outcome(jobs, f"job-{did[-1]}", did)).state is IndexState.DONE
        assert await table.fetchval("SELECT count(*) FROM record") == len(dids)
        bucket = await js.key_value(BUCKET_WORKERS)

        async def presented() -> bool:
            workers = await living_workers(bucket)
            assert all("backfill_rows_per_second" in worker.figures for worker in workers)
            return [(worker.worker_id, worker.ready) for worker in workers] == [(0, True), (1, True)]

        await until(presented)

        async with running_indexer(nats_url, database_url, tmp_path, worker_id=1, worker_count=2) as third:

            async def told() -> bool:
                return "another worker" in (await third.conditions())[1].get("partitions", "")

            await until(told)
            assert not (await third.conditions())[0]
            odd.process.terminate()
            await odd.process.wait()
            await third.until_ready()


async def test_several_workers_start_at_once_on_an_empty_database(
    nats_url: str, database_url: str, tmp_path: Path, client: Client
) -> None:
    async with (
        running_indexer(nats_url, database_url, tmp_path, worker_id=0, worker_count=3) as one,
        running_indexer(nats_url, database_url, tmp_path, worker_id=1, worker_count=3) as two,
        running_indexer(nats_url, database_url, tmp_path, worker_id=2, worker_count=3) as three,
    ):
        await asyncio.gather(one.until_ready(), two.until_ready(), three.until_ready())


async def test_it_outlives_a_restart_of_postgres(
    nats_url: str, backend: str, tmp_path: Path, js: JetStreamContext, jobs: JobStore
) -> None:
    if backend != "embedded":
        pytest.skip("restarts a Postgres of its own, from the wheel")
    with scratch_directory() as directory:
        server = EmbeddedPostgres(directory / "postgres", take_port(), throwaway=True)
        server.prepare()
        url = server.url("postgres")
        async with running_indexer(nats_url, url, tmp_path) as worker:
            with started(server.program(), log=directory / "postgres.log"):
                await worker.until_ready()
                await publish(js, batch(3, {A: 1}))
                await until(lambda: _is_empty(js, STREAM_BACKFILL))

            async def noticed() -> bool:
                return "Postgres" in (await worker.conditions())[1].get("postgres", "")

            await until(noticed)
            await publish(js, end(3, batches=1, records=1))
            assert worker.process.returncode is None
            with started(server.program(), log=directory / "postgres.log"):
                assert (await outcome(jobs)).state is IndexState.DONE
                await worker.until_ready()
