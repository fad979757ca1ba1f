"""What jobs hear of the ``jobs`` bucket, on a real NATS server."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.client import Client

from headwater.bus.job_store import JobStore
from headwater.bus.jobs import BackfillRequest, CancelPart, IndexPart, IndexState
from headwater.bus.round_trip import round_trip
from headwater.bus.streams import BUCKET_JOBS
from headwater.cancelling import cancel_and_wait
from repo_backfill.signals import Switchboard

DID, JOB = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "job1"


@pytest.fixture
async def store(client: Client) -> JobStore:
    return JobStore(await client.jetstream().key_value(BUCKET_JOBS))


async def test_a_job_that_is_held_twice_is_heard_of_after_one_has_let_go(client: Client, store: JobStore) -> None:
    switchboard = Switchboard(client, store)
    listening = asyncio.create_task(switchboard.run())
    async with switchboard.signals(DID, JOB) as second:
        async with switchboard.signals(DID, JOB) as first:
            await store.put_cancel(DID, JOB, CancelPart(requested_at_us=1))
            await asyncio.wait_for(asyncio.gather(first.stop_asked(), second.stop_asked()), 60)
        await store.put_index(DID, JOB, IndexPart(state=IndexState.DONE, attempt=2, updated_at_us=2))
        outcome = await asyncio.wait_for(second.outcome(2), 60)
    assert outcome.state is IndexState.DONE
    async with switchboard.signals(DID, JOB) as late:
        assert late.ended
        assert late.cancelled
    await cancel_and_wait([listening])


async def test_jobs_that_begin_together_share_questions_and_each_hears_of_itself(
    client: Client, store: JobStore
) -> None:
    await store.put_cancel(DID, "job7", CancelPart(requested_at_us=1))
    await store.put_request(request_of("job8"))
    await store.put_index(DID, "job9", IndexPart(state=IndexState.DONE, updated_at_us=2))
    asked = await client.subscribe(f"$JS.API.DIRECT.GET.KV_{BUCKET_JOBS}")
    switchboard = Switchboard(client, store)

    async def heard(job_id: str) -> tuple[bool, bool, bool]:
        async with switchboard.signals(DID, job_id) as signals:
            return signals.requested, signals.cancelled, signals.ended

    found = await asyncio.gather(*(heard(f"job{number}") for number in range(20)))
    assert found[7:10] == [(False, True, False), (True, False, False), (False, False, True)]
    assert set(found[:7] + found[10:]) == {(False, False, False)}
    await round_trip(client)
    assert asked.pending_msgs == 2, "the first one's, and that of all the others"


async def test_one_that_gives_up_while_it_asks_leaves_the_others_their_answers(client: Client, store: JobStore) -> None:
    await store.put_cancel(DID, "job1", CancelPart(requested_at_us=1))
    switchboard = Switchboard(client, store)

    async def cancelled(job_id: str) -> bool:
        async with switchboard.signals(DID, job_id) as signals:
            return signals.cancelled

    jobs = [asyncio.create_task(cancelled(f"job{number}")) for number in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await cancel_and_wait(jobs[:1])
    assert await asyncio.wait_for(asyncio.gather(*jobs[1:]), 60) == [True, False]


def request_of(job_id: str) -> BackfillRequest:
    return BackfillRequest(
        job_id=job_id, did=DID, days=0, cutoff_us=None, requested_at_us=1, requested_by="operator", actor=DID
    )
