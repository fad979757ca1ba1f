"""What users and operators can ask of the whole stack, and what they are told."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from e2e.gateway_client import GatewayClient, accepted
from e2e.running_stack import GATEWAY_DID, RunningStack
from e2e.simulated import SimulatedWorld
from e2e.table import assert_same, rows_of
from simulator import Account, Gate, Write
from waiting import until

METHODS = {
    ("POST", "backfill"): "requestBackfill",
    ("GET", "backfill"): "listBackfills",
    ("GET", "job"): "getBackfill",
    ("DELETE", "job"): "cancelBackfill",
    ("GET", "stats"): "getStats",
    ("GET", "settings"): "getSettings",
}


class User:
    """An account's owner, with a program that has asked the PDS for tokens."""

    def __init__(self, gateway: GatewayClient, account: Account) -> None:
        self._gateway = gateway
        self._account = account

    async def says(self, method: str, path: str, **arguments: Any) -> Any:
        """A request with a fresh token for it."""
        name = METHODS[method, "job" if path.startswith("backfill/") else path]
        token = self._account.service_auth(GATEWAY_DID, f"app.headwater.user.{name}")
        return await self._gateway.user(method, path, token, **arguments)


async def test_a_user_brings_the_own_account(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    alice.seed_records(300)
    user = User(gateway, alice)
    assert (await user.says("GET", "settings")).json()["last_backfill_at"] is None
    job_id = accepted(await user.says("POST", "backfill", json={"days": 0}))
    await gateway.until(job_id, "done")
    assert_same(await rows_of(database, alice.did), alice.expected())
    [mine] = (await user.says("GET", "backfill")).json()["jobs"]
    assert (mine["job_id"], mine["state"], mine["requested_by"]) == (job_id, "done", "user")
    assert (await user.says("GET", f"backfill/{job_id}")).json() == mine
    stats = (await user.says("GET", "stats")).json()
    counts: dict[str, int] = {}
    for collection, _ in alice.expected():
        counts[collection] = counts.get(collection, 0) + 1
    assert {item["collection"]: item["records"] for item in stats["collections"]} == counts
    assert stats["records"] == 300
    settings = (await user.says("GET", "settings")).json()
    assert mine["requested_at_us"] < settings["last_backfill_at_us"] <= mine["finished_at_us"]
    assert settings["handle"] == alice.handle
    # A second one has to wait.
    again = await user.says("POST", "backfill", json={"days": 0})
    assert again.status_code == 429
    assert 0 < int(again.headers["Retry-After"]) <= 600


async def test_nobody_acts_for_another(world: SimulatedWorld, gateway: GatewayClient) -> None:
    alice, mallory = world.add_account(), world.add_account()
    alice.seed_records(10)
    job_id = await gateway.begin(alice.did)
    await gateway.until(job_id, "done")
    stranger = User(gateway, mallory)
    assert (await stranger.says("GET", f"backfill/{job_id}")).status_code == 404
    assert (await stranger.says("DELETE", f"backfill/{job_id}")).status_code == 404
    forged = mallory.service_auth(GATEWAY_DID, "app.headwater.user.requestBackfill", iss=alice.did)
    assert (await gateway.user("POST", "backfill", forged, json={"days": 0})).status_code == 401
    assert (await gateway.http.post("/api/admin/backfill", json={"actor": alice.did, "days": 0})).status_code == 401


async def test_a_second_request_is_told_of_the_first(world: SimulatedWorld, gateway: GatewayClient) -> None:
    alice = world.add_account()
    alice.seed_records(50)
    gate = alice.fault(Gate(at=100))
    job_id = await gateway.begin(alice.did)
    await asyncio.wait_for(gate.reached.wait(), 60)
    by_operator = await gateway.ask(alice.did)
    by_user = await User(gateway, alice).says("POST", "backfill", json={"days": 1})
    for refused in (by_operator, by_user):
        assert (refused.status_code, refused.json()["job_id"]) == (409, job_id)
    gate.open()
    await gateway.until(job_id, "done")


async def test_of_many_requests_at_once_one_is_taken(world: SimulatedWorld, gateway: GatewayClient) -> None:
    alice = world.add_account()
    alice.seed_records(50)
    gate = alice.fault(Gate(at=100))
    answers = await asyncio.gather(*(gateway.ask(alice.did) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 19
    [job_id] = {answer.json()["job_id"] for answer in answers}
    gate.open()
    await gateway.until(job_id, "done")
    assert alice.host.count("getRepo") == 1


async def test_a_job_that_is_done_does_not_stand_in_the_way(world: SimulatedWorld, gateway: GatewayClient) -> None:
    alice = world.add_account()
    alice.seed_records(20)
    for number in range(10):
        alice.post(f"and {number}")
        # Asked in the moment in which the last event says "done".
        async for job in gateway.events(await gateway.begin(alice.did)):
            last = job
        assert last["state"] == "done"


async def test_events_tell_a_job_to_its_end(world: SimulatedWorld, gateway: GatewayClient) -> None:
    alice = world.add_account()
    alice.seed_records(2000)
    gate = alice.fault(Gate(at=200_000))
    job_id = await gateway.begin(alice.did)
    seen = []
    async for job in gateway.events(job_id):
        seen.append(job)
        if job["state"] == "fetching":
            gate.open()
    states = [job["state"] for job in seen]
    order = ["queued", "resolving", "fetching", "indexing", "done"]
    assert states == sorted(states, key=order.index)
    assert {"fetching", "done"} <= set(states)
    assert seen[-1] == await gateway.job(job_id)
    for name in ("bytes_fetched", "records_published", "records_written"):
        figures = [job[name] for job in seen]
        assert figures == sorted(figures)
    assert seen[-1]["records_written"] == 2000


async def test_cancel_stops_the_fetch_and_never_sweeps(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    alice.seed_records(600)
    await gateway.done(alice.did)
    before = alice.expected()
    alice.apply_writes(Write("delete", *key) for key in sorted(before)[:100])
    gate = alice.fault(Gate(at=50_000))
    job_id = await gateway.begin(alice.did)
    await asyncio.wait_for(gate.reached.wait(), 60)
    cancelled = await gateway.post(f"jobs/{job_id}/cancel")
    assert cancelled.status_code == 202
    job = await gateway.until(job_id, "cancelled")
    assert job["cancel_requested"] is True
    assert_same(await rows_of(database, alice.did), before)
    assert (await gateway.post(f"jobs/{job_id}/retry")).status_code == 202
    [newest, *_] = (await User(gateway, alice).says("GET", "backfill")).json()["jobs"]
    gate.open()
    await gateway.until(newest["job_id"], "done")
    assert_same(await rows_of(database, alice.did), alice.expected())


async def test_a_user_cancels_and_may_ask_again(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    alice.seed_records(100)
    alice.fault(Gate(at=1000))
    user = User(gateway, alice)
    job_id = accepted(await user.says("POST", "backfill", json={"days": 0}))
    await gateway.until(job_id, "fetching")
    assert (await user.says("DELETE", f"backfill/{job_id}")).status_code == 202
    await gateway.until(job_id, "cancelled")
    assert (await user.says("GET", "settings")).json()["last_backfill_at_us"] is None
    # No cooldown: nothing has been brought yet.
    again = accepted(await user.says("POST", "backfill", json={"days": 0}))
    await gateway.until(again, "done")
    assert_same(await rows_of(database, alice.did), alice.expected())


async def test_paused_requests_wait(world: SimulatedWorld, gateway: GatewayClient, stack: RunningStack) -> None:
    alice = world.add_account()
    alice.seed_records(20)
    began = stack.log_size
    assert (await gateway.post("repo-backfill/pause")).status_code == 204
    try:
        assert (await gateway.status())["repo_backfill"] == {"paused": True}
        await until(lambda: "no new requests are taken" in stack.log(began))
        job_id = await gateway.begin(alice.did)
        await asyncio.sleep(1.0)
        assert (await gateway.job(job_id))["state"] == "queued"
        assert alice.host.requests == []
    finally:
        assert (await gateway.post("repo-backfill/resume")).status_code == 204
    await gateway.until(job_id, "done")


@pytest.mark.parametrize("days", ["abc", -1, 1_000_000_000, 3651, None, 1.5, True, "1"])
async def test_days_must_be_days(gateway: GatewayClient, world: SimulatedWorld, days: object) -> None:
    alice = world.add_account()
    answer = await User(gateway, alice).says("POST", "backfill", json={"days": days})
    assert answer.status_code == 422
    assert answer.json()["reason"] == "invalid_input"


async def test_who_opted_out_is_left_out(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    alice.seed_records(20)
    await database.execute("INSERT INTO repo (did, opted_out) VALUES ($1, true)", alice.did)
    assert (await User(gateway, alice).says("POST", "backfill", json={"days": 0})).status_code == 403
    assert (await gateway.failed(alice.did))["reason"] == "opted_out"
    assert await rows_of(database, alice.did) == {}


async def test_every_service_tells_how_it_is(stack: RunningStack, gateway: GatewayClient) -> None:
    for name in ("indexer.0", "repo-backfill.0", "firehose-backfill.0", "api-gateway.0"):
        for path in ("healthz", "readyz", "metrics"):
            answer = await gateway.http.get(f"{stack.health_url(name)}/{path}")
            assert answer.status_code == 200, (name, path)
            assert answer.content
