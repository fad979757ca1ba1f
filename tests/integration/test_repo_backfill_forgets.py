"""What the system's own jobs leave in the bucket: nothing when they brought what they should, all when they failed."""

from __future__ import annotations

from pathlib import Path

from backfill_rig import rig, running, settings_for
from headwater.bus.buckets import entries
from headwater.bus.jobs import BackfillRequest
from headwater.bus.streams import BUCKET_JOBS
from headwater.bus.subjects import RequestLane, did_token, request_subject
from headwater.clock import now_us
from simulator.world import World
from waiting import until


async def test_a_crawls_done_job_is_forgotten_and_a_failed_one_stays(nats_url: str, tmp_path: Path) -> None:
    world = World(seed=71)
    good, gone, asked = (world.add_account() for _ in range(3))
    for account in (good, gone, asked):
        account.seed_records(5)
    gone.status = "deactivated"
    async with world, rig(nats_url) as bus, running(settings_for(nats_url, world.plc.url, tmp_path)):
        for account in (good, gone):
            request = BackfillRequest(
                job_id=f"crawl{account.handle.partition('.')[0]}",
                did=account.did,
                lane=RequestLane.CRAWL,
                days=0,
                cutoff_us=None,
                requested_at_us=now_us(),
                requested_by="system",
                actor=account.did,
            )
            await bus.js.publish(request_subject(RequestLane.CRAWL, account.did), request.model_dump_json().encode())
        operators = await bus.run(asked.did)
        await bus.queue_emptied()
        bucket = await bus.js.key_value(BUCKET_JOBS)
        keys: set[str] = set()

        async def is_forgotten() -> bool:
            """Nothing is there of the good one, and no markers are left either."""
            nonlocal keys
            keys = {key for key, _ in await entries(bucket, ">")}
            messages = (await bus.js.stream_info(f"KV_{BUCKET_JOBS}")).state.messages
            return messages == len(keys) and not any(key.startswith(did_token(good.did)) for key in keys)

        await until(is_forgotten)
        assert {key.split(".")[0] for key in keys} == {did_token(gone.did), did_token(asked.did)}
        (failed,) = await bus.jobs.jobs_of(gone.did)
        assert (failed.state.value, failed.reason) == ("failed", "deactivated")
        assert operators.state.value == "done"
