"""What users get from the gateway, on a real bus; a responder stands for the indexer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from api_gateway.auth.methods import Method
from gateway_harness import PROBLEM, Bystander, RunningGateway, bearer, bystander, events, running_gateway
from headwater.bus.jobs import CancelPart, FetchPart, FetchState, IndexPart, IndexState
from headwater.bus.streams import STREAM_REQUESTS, request_consumer
from headwater.bus.subjects import RequestLane, request_subject
from headwater.clock import DAY_US, now_us
from simulator.world import World

BAD_BODIES = [
    b'{"days":"abc"}',
    b'{"days":"7"}',
    b'{"days":-1}',
    b'{"days":3651}',
    b'{"days":1e9}',
    b'{"days":1.5}',
    b'{"days":true}',
    b'{"days":null}',
    b'{"days":[7]}',
    b'{"days":NaN}',
    b"{}",
    b"[]",
    b"7",
    b"",
    b"{",
    b'{"days":7,"cutoff":0}',
    b'{"days":' + b"9" * 5000 + b"}",
    b"[" * 5000,
    b'\xff\xfe{"days":7}',
]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(seed=6)
    world.add_account()
    world.add_account(curve="p256")
    async with world:
        yield world


@pytest.fixture
async def gateway(nats_url: str, world: World, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(nats_url, world.plc.url, tmp_path) as running:
        yield running


@pytest.fixture
async def bus(nats_url: str, gateway: RunningGateway) -> AsyncIterator[Bystander]:
    async with bystander(nats_url) as client:
        await client.answer_as_indexer()
        yield client


def problem(response: httpx.Response, status: int, reason: str) -> dict[str, object]:
    """The problem document, which has to be one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    document: dict[str, object] = response.json()
    assert document["status"] == status
    assert document["reason"] == reason
    assert document["title"]
    assert document["detail"]
    return document


async def test_a_request_is_queued_with_its_cutoff_fixed(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    before = now_us()
    answer = await gateway.ask(alice, 30)
    after = now_us()
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert body["success"] is True
    assert "30 days" in body["message"]
    queued = await bus.queued(alice.did)
    assert queued is not None
    assert queued.job_id == body["job_id"]
    assert (queued.did, queued.days, queued.requested_by) == (alice.did, 30, "user")
    assert queued.cutoff_us is not None
    assert before - 30 * DAY_US <= queued.cutoff_us <= after - 30 * DAY_US
    assert await (await bus.jobs()).request(alice.did, queued.job_id) == queued


async def test_all_time_has_no_cutoff(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    assert (await gateway.ask(world.accounts[1], 0)).status_code == 202
    queued = await bus.queued(world.accounts[1].did)
    assert queued is not None
    assert queued.cutoff_us is None


async def test_of_fifty_requests_at_once_one_is_taken(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    answers = await asyncio.gather(*(gateway.ask(world.accounts[0], days) for days in range(50)))
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert len(accepted) == 1
    job_id = accepted[0].json()["job_id"]
    for answer in answers:
        if answer is not accepted[0]:
            assert problem(answer, 409, "job_running")["job_id"] == job_id
    assert await bus.queue_length() == 1
    assert [job.job_id for job in await (await bus.jobs()).jobs_of(world.accounts[0].did)] == [job_id]


async def test_one_account_does_not_block_another(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    first, second = await gateway.ask(world.accounts[0]), await gateway.ask(world.accounts[1])
    assert (first.status_code, second.status_code) == (202, 202)
    assert await bus.queue_length() == 2


async def test_the_cooldown_counts_from_the_last_success(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    bus.settings = bus.settings.model_copy(update={"last_backfill_at_us": now_us() - 100_000_000})
    refused = await gateway.ask(world.accounts[0])
    problem(refused, 429, "cooldown")
    assert 495 <= int(refused.headers["retry-after"]) <= 500
    assert await bus.queue_length() == 0
    bus.settings = bus.settings.model_copy(update={"last_backfill_at_us": now_us() - 601_000_000})
    assert (await gateway.ask(world.accounts[0])).status_code == 202
    assert bus.asked == [world.accounts[0].did] * 2


async def test_a_running_job_is_named_before_the_cooldown(
    gateway: RunningGateway, bus: Bystander, world: World
) -> None:
    job_id = (await gateway.ask(world.accounts[0])).json()["job_id"]
    bus.settings = bus.settings.model_copy(update={"last_backfill_at_us": now_us()})
    assert problem(await gateway.ask(world.accounts[0]), 409, "job_running")["job_id"] == job_id


async def test_who_opted_out_is_refused(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    bus.settings = bus.settings.model_copy(update={"opted_out": True})
    problem(await gateway.ask(world.accounts[0]), 403, "opted_out")
    assert await bus.queue_length() == 0


async def test_bad_input_is_refused_with_a_reason(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    for body in BAD_BODIES:
        headers = bearer(world.accounts[0], Method.REQUEST_BACKFILL) | {"Content-Type": "application/json"}
        answer = await gateway.client.post("/api/user/backfill", content=body, headers=headers)
        problem(answer, 422, "invalid_input")
    assert await bus.queue_length() == 0


async def test_a_huge_body_is_refused(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    async def pieces(size: int) -> AsyncIterator[bytes]:
        for start in range(0, size, 65_536):
            yield b" " * min(65_536, size - start)

    for size in (16 * 1024 + 1, 5_000_000):
        for content in (b" " * size, pieces(size)):
            headers = bearer(world.accounts[0], Method.REQUEST_BACKFILL) | {"Content-Type": "application/json"}
            answer = await gateway.client.post("/api/user/backfill", content=content, headers=headers)
            problem(answer, 422, "body_too_large")
    assert await bus.queue_length() == 0


async def test_without_an_indexer_nothing_is_taken(gateway: RunningGateway, nats_url: str, world: World) -> None:
    async with bystander(nats_url) as client:
        refused = await gateway.ask(world.accounts[0])
        problem(refused, 503, "unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        problem(await gateway.read(world.accounts[0], "stats", Method.GET_STATS), 503, "unavailable")
        assert await client.queue_length() == 0


async def test_stats_and_settings_come_from_the_indexer(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    bus.settings = bus.settings.model_copy(update={"last_backfill_at_us": 5, "last_backfill_days": 30})
    stats = (await gateway.read(alice, "stats", Method.GET_STATS)).json()
    assert (stats["did"], stats["records"]) == (alice.did, 7)
    assert stats["collections"][0]["collection"] == "app.bsky.feed.post"
    settings = (await gateway.read(alice, "settings", Method.GET_SETTINGS)).json()
    assert (settings["did"], settings["last_backfill_at_us"], settings["last_backfill_days"]) == (alice.did, 5, 30)


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
    gateway: RunningGateway, bus: Bystander, world: World, acknowledged: bool
) -> None:
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
    await bus.client.flush()
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
    await asyncio.wait_for(asyncio.gather(*(mark.wait() for mark in marks)), 20)
    problem(await gateway.client.get(path, headers=headers), 429, "too_many_followers")
    await (await bus.jobs()).put_cancel(alice.did, job_id, CancelPart(requested_at_us=now_us()))
    assert await asyncio.gather(*streams) == [200] * 16
    answer = await gateway.client.get(path, headers=headers)
    assert answer.status_code == 200


async def test_unknown_paths_and_methods_are_problems_too(gateway: RunningGateway) -> None:
    problem(await gateway.client.get("/api/nothing"), 404, "not_found")
    problem(await gateway.client.put("/api/user/backfill"), 405, "method_not_allowed")


async def test_browsers_are_told_to_keep_out(gateway: RunningGateway) -> None:
    answer = await gateway.client.get("/api/user/stats", headers={"Origin": "https://evil.test"})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_the_api_is_described(gateway: RunningGateway) -> None:
    schema = (await gateway.client.get("/openapi.json")).json()
    post = schema["paths"]["/api/user/backfill"]["post"]
    assert post["x-lxm"] == Method.REQUEST_BACKFILL.value
    assert {"202", "401", "403", "409", "422", "429", "503"} <= set(post["responses"])
    for status, response in post["responses"].items():
        if status != "202":
            assert set(response["content"]) == {PROBLEM}
    docs = await gateway.client.get("/docs")
    assert docs.status_code == 200
    assert all(path in docs.text for path in schema["paths"])
    assert "http://" not in docs.text.replace("http://127.0.0.1", "")
    assert "https://" not in docs.text
    assert (await gateway.client.get("/user")).status_code == 200
    did = (await gateway.client.get("/.well-known/did.json")).json()
    assert did["id"] == "did:web:gateway.test"
    assert did["service"][0]["serviceEndpoint"] == "https://gateway.test"


async def test_metrics_count_without_naming_anybody(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    job_id = (await gateway.ask(world.accounts[0])).json()["job_id"]
    await gateway.read(world.accounts[0], f"backfill/{job_id}", Method.GET_BACKFILL)
    await gateway.client.get("/nowhere/at/all")
    text = (await gateway.client.get("/metrics")).text
    assert 'headwater_gateway_requests_total{method="POST",route="/api/user/backfill",status="202"}' in text
    assert 'route="/api/user/backfill/{job_id}",status="200"' in text
    assert 'route="unmatched",status="404"' in text
    assert world.accounts[0].did not in text
    assert job_id not in text
    assert "nowhere" not in text


async def _take(bus: Bystander):  # noqa: ANN202 (nats-py's message)
    """Take the waiting request as a worker does."""
    subscription = await bus.js.pull_subscribe_bind(request_consumer(RequestLane.USER), STREAM_REQUESTS)
    (message,) = await subscription.fetch(1, timeout=10)
    assert message.subject.startswith(request_subject(RequestLane.USER, "did")[:14])
    return message
