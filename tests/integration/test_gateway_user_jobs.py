"""A user's own jobs: listed, looked at, followed, cancelled; a responder stands for the indexer."""

from __future__ import annotations

import asyncio

import pytest

from api_gateway import acceptance
from api_gateway.auth.methods import Method
from gateway_harness import Bystander, RunningGateway, bearer, events, problem
from headwater.bus.jobs import CancelPart, FetchPart, FetchState, IndexPart, IndexState
from headwater.bus.round_trip import round_trip
from headwater.bus.streams import STREAM_REQUESTS, request_consumer
from headwater.bus.subjects import RequestLane, request_subject
from headwater.clock import now_us
from simulator.world import World


async def test_jobs_are_listed_newest_first_and_in_pages(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    ids = []
    for _ in range(3):
        ids.append((await gateway.ask(alice)).json()["job_id"])
        assert (await gateway.cancel(alice, ids[-1])).status_code == 202
    ids.append((await gateway.ask(alice)).json()["job_id"])
    listed = (await gateway.read(alice, "backfill", Method.LIST_BACKFILLS)).json()
    assert [job["job_id"] for job in listed["jobs"]] == ids[::-1]
    assert [job["state"] for job in listed["jobs"]] == ["queued", "cancelled", "cancelled", "cancelled"]
    assert listed["next"] is None
    first = (await gateway.read(alice, "backfill?limit=3", Method.LIST_BACKFILLS)).json()
    rest = (await gateway.read(alice, f"backfill?limit=3&before={first['next']}", Method.LIST_BACKFILLS)).json()
    assert [job["job_id"] for job in first["jobs"] + rest["jobs"]] == ids[::-1]
    running = (await gateway.read(alice, "backfill?state=queued", Method.LIST_BACKFILLS)).json()
    assert [job["job_id"] for job in running["jobs"]] == ids[-1:]
    nobodys = (await gateway.read(world.accounts[1], "backfill", Method.LIST_BACKFILLS)).json()
    assert nobodys["jobs"] == []


async def test_there_is_no_such_job(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    await gateway.ask(world.accounts[0])
    for job_id in ("*", ">", "a.b", "%2e%2e", "0" * 500, "0006512bd5c1a0a1b2c3d4e5f6"):
        answer = await gateway.read(world.accounts[0], f"backfill/{job_id}", Method.GET_BACKFILL)
        problem(answer, 404, "no_such_job")
        problem(await gateway.client.get(f"/api/admin/jobs/{job_id}", headers=gateway.operator), 404, "no_such_job")


async def test_other_users_jobs_do_not_exist(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice, bob = world.accounts[:2]
    job_id = (await gateway.ask(alice)).json()["job_id"]
    problem(await gateway.read(bob, f"backfill/{job_id}", Method.GET_BACKFILL), 404, "no_such_job")
    problem(await gateway.read(bob, f"backfill/{job_id}/events", Method.GET_BACKFILL), 404, "no_such_job")
    problem(await gateway.cancel(bob, job_id), 404, "no_such_job")
    mine = await gateway.read(alice, f"backfill/{job_id}", Method.GET_BACKFILL)
    assert (mine.status_code, mine.json()["state"]) == (200, "queued")


async def test_cancelling_a_waiting_job_frees_the_account_at_once(
    gateway: RunningGateway, bus: Bystander, world: World
) -> None:
    alice = world.accounts[0]
    job_id = (await gateway.ask(alice)).json()["job_id"]
    cancelled = await gateway.cancel(alice, job_id)
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    assert await bus.queue_length() == 0
    again = await gateway.cancel(alice, job_id)
    assert (again.status_code, again.json()["state"]) == (202, "cancelled")
    assert (await gateway.ask(alice)).status_code == 202


async def test_cancelling_a_running_job_leaves_its_request_to_the_worker(
    gateway: RunningGateway, bus: Bystander, world: World
) -> None:
    alice = world.accounts[0]
    job_id = (await gateway.ask(alice)).json()["job_id"]
    held = await _take(bus)
    await (await bus.jobs()).put_fetch(alice.did, job_id, FetchPart(state=FetchState.FETCHING))
    answer = await gateway.cancel(alice, job_id)
    assert (answer.status_code, answer.json()["state"], answer.json()["cancel_requested"]) == (202, "fetching", True)
    assert await (await bus.jobs()).cancel(alice.did, job_id) is not None
    assert await bus.queue_length() == 1
    problem(await gateway.ask(alice), 409, "job_running")
    await (await bus.jobs()).put_fetch(alice.did, job_id, FetchPart(state=FetchState.CANCELLED))
    await held.ack_sync()
    assert (await gateway.ask(alice)).status_code == 202


@pytest.mark.parametrize("acknowledged", [True, False])
async def test_a_job_that_has_just_ended_is_waited_for(
    gateway: RunningGateway, bus: Bystander, world: World, acknowledged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if acknowledged:
        monkeypatch.setattr(acceptance, "_ENDING_SECONDS", 30.0)
        monkeypatch.setattr(acceptance, "PATIENCE_SECONDS", 30.0)
    alice = world.accounts[0]
    job_id = (await gateway.ask(alice)).json()["job_id"]
    held = await _take(bus)
    await (await bus.jobs()).put_index(alice.did, job_id, IndexPart(state=IndexState.DONE))
    asked = asyncio.create_task(gateway.ask(alice))
    if acknowledged:
        await asyncio.wait({asked}, timeout=0.5)
        assert not asked.done()
        await held.ack_sync()
        assert (await asked).status_code == 202
    else:
        assert problem(await asked, 409, "job_running")["job_id"] == job_id


async def test_cancelling_between_tries_sends_the_request_at_once(
    gateway: RunningGateway, bus: Bystander, world: World
) -> None:
    alice = world.accounts[0]
    job_id = (await gateway.ask(alice)).json()["job_id"]
    held = await _take(bus)
    part = FetchPart(state=FetchState.WAITING, attempt=2, next_try_at_us=now_us() + 3_600_000_000)
    await (await bus.jobs()).put_fetch(alice.did, job_id, part)
    await held.nak(delay=3600)
    await round_trip(bus.client)
    assert (await gateway.cancel(alice, job_id)).status_code == 202
    again = await _take(bus)
    queued = await bus.queued(alice.did)
    assert queued is not None
    assert queued.job_id == job_id
    assert again.data == queued.model_dump_json().encode()


async def test_what_has_ended_cannot_be_cancelled(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    job_id = (await gateway.ask(alice)).json()["job_id"]
    jobs = await bus.jobs()
    await jobs.put_fetch(alice.did, job_id, FetchPart(state=FetchState.PUBLISHED))
    await jobs.put_index(alice.did, job_id, IndexPart(state=IndexState.DONE, records_written=3))
    refused = problem(await gateway.cancel(alice, job_id), 409, "job_ended")
    assert refused["job_id"] == job_id
    assert await jobs.cancel(alice.did, job_id) is None


async def test_a_job_whose_part_was_never_written_is_there(
    gateway: RunningGateway, bus: Bystander, world: World
) -> None:
    """The gateway died between the message and the part."""
    alice = world.accounts[0]
    job_id = (await gateway.ask(alice)).json()["job_id"]
    bucket = await bus.js.key_value("jobs")
    for key in await bucket.keys():
        await bucket.purge(key)
    listed = (await gateway.read(alice, "backfill", Method.LIST_BACKFILLS)).json()
    assert [job["job_id"] for job in listed["jobs"]] == [job_id]
    assert (await gateway.read(alice, f"backfill/{job_id}", Method.GET_BACKFILL)).json()["state"] == "queued"
    assert (await gateway.cancel(alice, job_id)).json()["state"] == "cancelled"
    listed = (await gateway.read(alice, "backfill", Method.LIST_BACKFILLS)).json()
    assert [(job["job_id"], job["state"]) for job in listed["jobs"]] == [(job_id, "cancelled")]


async def test_a_job_is_followed_to_its_end(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    job_id = (await gateway.ask(alice)).json()["job_id"]
    jobs = await bus.jobs()
    path = f"/api/user/backfill/{job_id}/events"
    seen = []
    headers = bearer(alice, Method.GET_BACKFILL)
    async with gateway.client.stream("GET", path, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        async for job in events(response):
            seen.append((job["state"], job["records_written"]))
            if job["state"] == "queued":
                await jobs.put_fetch(alice.did, job_id, FetchPart(state=FetchState.FETCHING, bytes_fetched=10))
            elif job["state"] == "fetching":
                await jobs.put_fetch(alice.did, job_id, FetchPart(state=FetchState.PUBLISHED, records_published=3))
            elif job["state"] == "indexing":
                await jobs.put_index(alice.did, job_id, IndexPart(state=IndexState.DONE, records_written=3))
    assert seen == [("queued", 0), ("fetching", 0), ("indexing", 0), ("done", 3)]


async def test_following_many_times_at_once_has_a_limit(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    job_id = (await gateway.ask(alice)).json()["job_id"]
    path, headers = f"/api/user/backfill/{job_id}/events", bearer(alice, Method.GET_BACKFILL)

    async def follow(opened: asyncio.Event) -> int:
        async with gateway.client.stream("GET", path, headers=headers) as response:
            async for _ in events(response):
                opened.set()
        return response.status_code

    marks = [asyncio.Event() for _ in range(16)]
    streams = [asyncio.create_task(follow(mark)) for mark in marks]
    await asyncio.wait_for(asyncio.gather(*(mark.wait() for mark in marks)), 60)
    problem(await gateway.client.get(path, headers=headers), 429, "too_many_followers")
    await (await bus.jobs()).put_cancel(alice.did, job_id, CancelPart(requested_at_us=now_us()))
    assert await asyncio.gather(*streams) == [200] * 16
    answer = await gateway.client.get(path, headers=headers)
    assert answer.status_code == 200


async def _take(bus: Bystander):  # noqa: ANN202 (nats-py's message)
    """Take the waiting request as a worker does."""
    subscription = await bus.js.pull_subscribe_bind(request_consumer(RequestLane.USER), STREAM_REQUESTS)
    (message,) = await subscription.fetch(1, timeout=10)
    assert message.subject.startswith(request_subject(RequestLane.USER, "did")[:14])
    return message
