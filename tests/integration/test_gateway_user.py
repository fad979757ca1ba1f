"""What users get from the gateway, on a real bus; a responder stands for the indexer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from api_gateway.auth.methods import Method
from api_gateway.cooldown import PER_ACCOUNT
from gateway_harness import PROBLEM, Bystander, RunningGateway, bearer, bystander, problem, running_gateway
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


async def test_who_begins_and_cancels_again_and_again_has_to_wait(
    gateway: RunningGateway, bus: Bystander, world: World
) -> None:
    """There is no cooldown after a job that brought nothing, and what is left of each stays for 30 days."""
    alice, bob = world.accounts
    burst, _ = PER_ACCOUNT
    for _ in range(burst):
        job_id = (await gateway.ask(alice)).json()["job_id"]
        running = problem(await gateway.ask(alice), 409, "job_running")
        assert running["job_id"] == job_id, "what is refused does not count"
        assert (await gateway.cancel(alice, job_id)).status_code == 202
    refused = await gateway.ask(alice)
    problem(refused, 429, "too_many_backfills")
    assert 1 <= int(refused.headers["retry-after"]) <= 180
    assert await bus.queue_length() == 0
    assert (await gateway.ask(bob)).status_code == 202


async def test_without_a_cooldown_nobody_has_to_wait(
    bus: Bystander, nats_url: str, world: World, tmp_path: Path
) -> None:
    alice = world.accounts[0]
    async with running_gateway(nats_url, world.plc.url, tmp_path / "free", headwater_cooldown_seconds=0) as gateway:
        for _ in range(PER_ACCOUNT[0] + 2):
            job_id = (await gateway.ask(alice)).json()["job_id"]
            assert (await gateway.cancel(alice, job_id)).status_code == 202


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
    assert settings["last_backfill_at"] == "1970-01-01T00:00:00.000005Z"


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
