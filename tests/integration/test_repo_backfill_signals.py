"""What jobs hear of the ``jobs`` bucket, on a real NATS server."""

from __future__ import annotations

import asyncio

import nats

from headwater.bus.job_store import JobStore
from headwater.bus.jobs import CancelPart, IndexPart, IndexState
from headwater.bus.streams import BUCKET_JOBS, apply_topology
from headwater.cancelling import cancel_and_wait
from repo_backfill.signals import Switchboard

DID, JOB = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "job1"


async def test_a_job_that_is_held_twice_is_heard_of_after_one_has_let_go(nats_url: str) -> None:
    client = await nats.connect(nats_url)
    try:
        jetstream = client.jetstream()
        await apply_topology(jetstream)
        store = JobStore(await jetstream.key_value(BUCKET_JOBS))
        switchboard = Switchboard(client, store)
        listening = asyncio.create_task(switchboard.run())
        async with switchboard.signals(DID, JOB) as second:
            async with switchboard.signals(DID, JOB) as first:
                await store.put_cancel(DID, JOB, CancelPart(requested_at_us=1))
                await asyncio.wait_for(asyncio.gather(first.stop_asked(), second.stop_asked()), 30)
            await store.put_index(DID, JOB, IndexPart(state=IndexState.DONE, attempt=2, updated_at_us=2))
            outcome = await asyncio.wait_for(second.outcome(2), 30)
        assert outcome.state is IndexState.DONE
        async with switchboard.signals(DID, JOB) as late:
            assert late.ended
            assert late.cancelled
        await cancel_and_wait([listening])
    finally:
        await client.close()
