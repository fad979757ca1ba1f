"""How repo-backfill takes requests, and what becomes of those that are cancelled, given back, paused or imported."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from nats.js.errors import ObjectNotFoundError
from prometheus_client import REGISTRY

from backfill_rig import JobState, Rig, backfill_bus, running, settings_for, world_of_two_hosts
from headwater.bus.jobs import FetchPart, FetchState
from headwater.bus.messages import Outcome
from headwater.bus.streams import (
    OBJECTS_IMPORTS,
    STREAM_BACKFILL,
    STREAM_DEAD_LETTERS,
    STREAM_REQUESTS,
    request_consumer,
)
from headwater.bus.subjects import RequestLane, did_token
from headwater.errors import Reason
from repo_backfill.intake import JOBS_PER_FETCH
from simulator.faults import GET_REPO, Gate
from simulator.world import World
from waiting import until

WAITS = "headwater_repo_backfill_publish_waits_total"

bus = backfill_bus
world = world_of_two_hosts


def waits() -> float:
    return REGISTRY.get_sample_value(WAITS, {"cause": "stream full"}) or 0.0


async def test_cancelled_before_anybody_took_it(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(5)
    job = await bus.ask(account.did)
    await bus.cancel(account.did, job)
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        status = await bus.final(account.did, job)
        await bus.queue_emptied()
    assert status.state is JobState.CANCELLED
    assert account.host.count(GET_REPO) == 0
    assert [end.outcome for end in bus.seen(job).ends] == [Outcome.CANCELLED]


async def test_cancelled_in_the_middle_of_a_fetch(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(500)
    gate = account.host.faults.add(Gate(at=20_000))
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(account.did)
        await asyncio.wait_for(gate.reached.wait(), 60)
        await bus.cancel(account.did, job)
        status = await bus.final(account.did, job)
        await bus.queue_emptied()
        gate.open()
    assert status.state is JobState.CANCELLED
    assert [end.outcome for end in bus.seen(job).ends] == [Outcome.CANCELLED]
    assert bus.seen(job).rows() == {}


async def test_a_job_that_was_begun_although_its_request_seems_new_is_taken_up(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(30)
    begun = FetchPart(state=FetchState.FETCHING, attempt=3)
    job = await bus.ask(account.did)
    await bus.jobs.put_fetch(account.did, job, begun)
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        status = await bus.final(account.did, job)
    assert (status.state, status.attempt) == (JobState.DONE, 4)
    info = await bus.js.consumer_info(STREAM_REQUESTS, request_consumer(RequestLane.USER))
    assert info.delivered is not None
    assert info.delivered.consumer_seq == 1, "at once, not when the request has come again"


async def test_a_superseded_snapshot_is_fetched_again(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(30)
    bus.indexer.supersede = {1}
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(account.did)
        status = await bus.final(account.did, job)
    assert (status.state, status.attempt) == (JobState.DONE, 2)
    assert [end.attempt for end in bus.seen(job).ends] == [1, 2]


async def test_a_published_job_waits_for_the_indexer_after_a_restart(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(30)
    bus.indexer.ending = False
    settings = settings_for(bus.url, world.plc.url, tmp_path)
    async with running(settings):
        job = await bus.ask(account.did)
        await bus.until(account.did, job, lambda status: status.state is JobState.INDEXING)
    async with running(settings):
        await asyncio.sleep(0.5)
        [end] = bus.seen(job).ends
        await bus.indexer.end(end)
        status = await bus.final(account.did, job)
        await bus.queue_emptied()
    assert (status.state, status.attempt) == (JobState.DONE, 1)
    assert account.host.count(GET_REPO) == 1


async def test_a_stopped_worker_gives_its_jobs_back(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(300)
    gate = account.host.faults.add(Gate(at=20_000))
    settings = settings_for(bus.url, world.plc.url, tmp_path)
    async with running(settings):
        job = await bus.ask(account.did)
        await asyncio.wait_for(gate.reached.wait(), 60)
    gate.open()
    async with running(settings):
        status = await bus.final(account.did, job)
    assert (status.state, status.attempt) == (JobState.DONE, 2)
    part = await bus.jobs.fetch(account.did, job)
    assert part is not None
    assert part.tries == 0
    assert set(bus.seen(job).rows()) == set(account.expected())


async def test_a_request_that_is_none_is_kept_as_a_dead_letter(bus: Rig, world: World, tmp_path: Path):
    await bus.js.publish(f"requests.user.{did_token('did:plc:x')}", b"not json")
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        await bus.queue_emptied()
    letter = await bus.js.get_last_msg(STREAM_DEAD_LETTERS, "dead.message.message_malformed")
    assert letter.data == b"not json"


async def test_paused_takes_nothing_and_resumed_goes_on(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(5)
    await bus.pause(True)
    async with running(settings_for(bus.url, world.plc.url, tmp_path)) as intake:
        await until(lambda: intake.paused)
        job = await bus.ask(account.did)
        await asyncio.sleep(1.0)
        assert (await bus.js.stream_info(STREAM_REQUESTS)).state.messages == 1
        assert account.host.requests == []
        await bus.pause(False)
        assert (await bus.final(account.did, job)).state is JobState.DONE


async def test_a_worker_takes_as_many_requests_as_a_lane_has_places(bus: Rig, world: World, tmp_path: Path):
    accounts = [world.add_account(host=world.hosts[0]) for _ in range(10)]
    for account in accounts:
        account.seed_records(5)
    gate = world.hosts[0].faults.add(Gate())
    jobs = [(account, await bus.ask(account.did, lane=RequestLane.CRAWL)) for account in accounts]
    asked = await bus.client.subscribe(f"$JS.API.CONSUMER.MSG.NEXT.*.{request_consumer(RequestLane.CRAWL)}")
    settings = settings_for(bus.url, world.plc.url, tmp_path, headwater_fetch_concurrency=1)
    async with running(settings) as intake:
        await asyncio.wait_for(gate.reached.wait(), 60)
        await until(lambda: sum(intake.states().values()) >= JOBS_PER_FETCH // 2)
        await asyncio.sleep(0.5)
        assert sum(intake.states().values()) == JOBS_PER_FETCH // 2, "a crawl may have half of them"
        assert asked.pending_msgs == 1, "all of them for one question"
        gate.open()
        for account, job in jobs:
            assert (await bus.final(account.did, job)).state is JobState.DONE


async def test_a_users_request_overtakes_a_crawl(bus: Rig, world: World, tmp_path: Path):
    accounts = [world.add_account(host=world.hosts[0]) for _ in range(6)]
    for account in accounts:
        account.seed_records(5)
    *crawled, user = accounts
    gate = world.hosts[0].faults.add(Gate(did=crawled[0].did))
    settings = settings_for(
        bus.url, world.plc.url, tmp_path, headwater_fetch_concurrency=1, headwater_host_connections=1
    )
    async with running(settings):
        jobs = [(account, await bus.ask(account.did, lane=RequestLane.CRAWL)) for account in crawled]
        await asyncio.wait_for(gate.reached.wait(), 60)
        jobs.append((user, await bus.ask(user.did, lane=RequestLane.USER)))
        await bus.until(user.did, jobs[-1][1], lambda status: status.pds is not None)  # and waits for its turn there
        gate.open()
        for account, job in jobs:
            await bus.final(account.did, job)
    order = [seen.params["did"] for seen in world.hosts[0].requests if GET_REPO in seen.path]
    assert order.index(user.did) == 1


async def test_an_imported_file_is_read_instead_of_the_pds(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(400)
    imports = await bus.js.object_store(OBJECTS_IMPORTS)
    await imports.put("file1", account.car().read_bytes())
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(account.did, car_object="file1", did_key=account.key.did_key)
        status = await bus.final(account.did, job)
        await bus.queue_emptied()
    assert status.state is JobState.DONE, status
    assert set(bus.seen(job).rows()) == set(account.expected())
    assert account.host.count(GET_REPO) == 0
    with pytest.raises(ObjectNotFoundError):
        await imports.get_info("file1")


async def test_an_imported_file_under_another_key_is_refused(bus: Rig, world: World, tmp_path: Path):
    account, other = world.add_account(), world.add_account()
    account.seed_records(4)
    imports = await bus.js.object_store(OBJECTS_IMPORTS)
    await imports.put("file1", account.car().read_bytes())
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        status = await bus.run(account.did, car_object="file1", did_key=other.key.did_key)
    assert (status.state, status.reason) == (JobState.FAILED, Reason.BAD_SIGNATURE)


async def test_a_file_that_is_gone(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        status = await bus.run(account.did, car_object="nothing", did_key=account.key.did_key)
    assert (status.state, status.reason) == (JobState.FAILED, Reason.NOT_FOUND)


async def test_a_full_stream_is_waited_for(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(4000)
    bus.indexer.ending = False
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        config = (await bus.js.stream_info(STREAM_BACKFILL)).config
        config.max_bytes = 700_000
        await bus.js.update_stream(config)
        before = waits()
        job = await bus.ask(account.did)
        await until(lambda: waits() > before)
        status = await bus.until(account.did, job, lambda status: status.bytes_fetched > 0)
        assert status.state is JobState.FETCHING
        for _ in range(200):
            await bus.js.purge_stream(STREAM_BACKFILL)
            status = await bus.status(account.did, job)
            if status is not None and status.state is JobState.INDEXING:
                break
            await asyncio.sleep(0.1)
    assert status is not None
    assert (status.state, status.attempt) == (JobState.INDEXING, 1)
    assert set(bus.seen(job).rows()) == set(account.expected())
