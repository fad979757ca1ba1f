"""What operators get from the gateway: any account's backfill, all jobs, imports, the stack's state."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from nats.js.errors import NotFoundError

from api_gateway.abandoned_cars import remove_abandoned
from api_gateway.auth.operator import FILE_NAME
from api_gateway.bus import Bus
from gateway_harness import (
    Bystander,
    RunningGateway,
    bystander,
    events,
    problem,
    running_gateway,
    worker,
)
from headwater.bus.jobs import FetchPart, FetchState, IndexPart, IndexState
from headwater.bus.streams import BUCKET_CONTROL, BUCKET_CURSORS, BUCKET_WORKERS, OBJECTS_IMPORTS
from headwater.errors import Reason
from headwater.service import nats_broker
from headwater.settings import EXIT_CONFIG, ServiceSettings
from simulator.world import World
from waiting import until


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(seed=62)
    world.add_account("alice.sim.test")
    world.add_account("bob.sim.test")
    async with world:
        yield world


@pytest.fixture
async def gateway(nats_url: str, world: World, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    resolver = world.hosts[0].url
    async with running_gateway(
        nats_url, world.plc.url, tmp_path, handle_resolver_url=resolver, headwater_car_max_bytes=3_000_000
    ) as running:
        yield running


@pytest.fixture
async def bus(nats_url: str, gateway: RunningGateway) -> AsyncIterator[Bystander]:
    async with bystander(nats_url) as client:
        yield client


async def post(gateway: RunningGateway, path: str, **arguments: object) -> httpx.Response:
    return await gateway.client.post(f"/api/admin/{path}", headers=gateway.operator, **arguments)  # type: ignore[arg-type]


async def get(gateway: RunningGateway, path: str) -> httpx.Response:
    return await gateway.client.get(f"/api/admin/{path}", headers=gateway.operator)


async def test_an_account_is_named_by_did_or_handle(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice, bob = world.accounts
    for actor, account in ((alice.did, alice), ("@Bob.sim.test", bob)):
        answer = await post(gateway, "backfill", json={"actor": actor, "days": 7})
        assert answer.status_code == 202, answer.text
        queued = await bus.queued(account.did)
        assert queued is not None
        assert (queued.job_id, queued.actor, queued.days) == (answer.json()["job_id"], actor, 7)
        assert queued.requested_by == "operator"


async def test_operators_wait_for_no_cooldown_but_for_the_running_job(
    gateway: RunningGateway, bus: Bystander, world: World
) -> None:
    """No indexer answers here: who would be asked about the cooldown is not asked."""
    first = await post(gateway, "backfill", json={"actor": world.accounts[0].did, "days": 0})
    second = await post(gateway, "backfill", json={"actor": "alice.sim.test", "days": 3})
    assert problem(second, 409, "job_running")["job_id"] == first.json()["job_id"]


async def test_an_actor_that_cannot_be_found_is_said_with_its_reason(
    gateway: RunningGateway, bus: Bystander, world: World
) -> None:
    for body, status, reason in (
        ({"actor": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "days": 0}, 404, "unresolvable"),
        ({"actor": "nobody.sim.test", "days": 0}, 404, "unresolvable"),
        ({"actor": "not an actor", "days": 0}, 422, "syntax"),
        ({"actor": "did:plc:a b", "days": 0}, 422, "syntax"),
        ({"actor": "", "days": 0}, 422, "invalid_input"),
        ({"actor": "alice.sim.test"}, 422, "invalid_input"),
        ({"actor": "alice.sim.test", "days": -1}, 422, "invalid_input"),
        ({"actor": 7, "days": 0}, 422, "invalid_input"),
    ):
        problem(await post(gateway, "backfill", json=body), status, reason)
    world.accounts[1].tombstone()
    gone = await post(gateway, "backfill", json={"actor": world.accounts[1].did, "days": 0})
    problem(gone, 404, "account_deleted")
    assert await bus.queue_length() == 0


async def test_a_directory_that_is_away_is_503(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    await world.plc.stop()
    problem(await post(gateway, "backfill", json={"actor": world.accounts[0].did, "days": 0}), 503, "unavailable")
    assert await bus.queue_length() == 0


async def test_jobs_are_listed_looked_at_and_cancelled(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    ids = {}
    for account in world.accounts:
        ids[account.did] = (await post(gateway, "backfill", json={"actor": account.did, "days": 0})).json()["job_id"]
    listed = (await get(gateway, "jobs")).json()
    assert [job["job_id"] for job in listed["jobs"]] == list(ids.values())[::-1]
    alice = world.accounts[0].did
    assert (await get(gateway, f"jobs/{ids[alice]}")).json()["did"] == alice
    assert (await post(gateway, f"jobs/{ids[alice]}/cancel")).json()["state"] == "cancelled"
    queued = (await get(gateway, "jobs?state=queued")).json()["jobs"]
    assert [job["job_id"] for job in queued] == [ids[world.accounts[1].did]]
    first = (await get(gateway, "jobs?limit=1")).json()
    rest = (await get(gateway, f"jobs?limit=1&before={first['next']}")).json()
    assert [job["job_id"] for job in rest["jobs"]] == [ids[alice]]
    assert rest["next"] is None
    problem(await get(gateway, "jobs?state=lost"), 422, "invalid_input")
    problem(await post(gateway, "jobs/0006512bd5c1a0a1b2c3d4e5f6/cancel"), 404, "no_such_job")


async def test_a_job_is_followed(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    job_id = (await post(gateway, "backfill", json={"actor": alice.did, "days": 0})).json()["job_id"]
    seen = []
    url = f"/api/admin/jobs/{job_id}/events"
    async with gateway.client.stream("GET", url, headers=gateway.operator) as response:
        async for job in events(response):
            seen.append(job["state"])
            if job["state"] == "queued":
                await post(gateway, f"jobs/{job_id}/cancel")
    assert seen == ["queued", "cancelled"]


async def test_what_failed_is_tried_again_as_a_new_job(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    job_id = (await post(gateway, "backfill", json={"actor": "alice.sim.test", "days": 9})).json()["job_id"]
    problem(await post(gateway, f"jobs/{job_id}/retry"), 409, "job_not_failed")
    await bus.js.purge_stream("REQUESTS")
    part = FetchPart(state=FetchState.FAILED, reason=Reason.UNREACHABLE, detail="no answer")
    await (await bus.jobs()).put_fetch(alice.did, job_id, part)
    failed = (await get(gateway, f"jobs/{job_id}")).json()
    assert (failed["state"], failed["reason"]) == ("failed", "unreachable")
    answer = await post(gateway, f"jobs/{job_id}/retry")
    assert answer.status_code == 202
    queued = await bus.queued(alice.did)
    assert queued is not None
    assert queued.job_id == answer.json()["job_id"] != job_id
    assert (queued.days, queued.actor, queued.requested_by) == (9, "alice.sim.test", "operator")
    again = problem(await post(gateway, f"jobs/{job_id}/retry"), 409, "job_running")
    assert again["job_id"] == queued.job_id


async def test_what_is_done_is_not_tried_again(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    job_id = (await post(gateway, "backfill", json={"actor": alice.did, "days": 0})).json()["job_id"]
    jobs = await bus.jobs()
    await jobs.put_fetch(alice.did, job_id, FetchPart(state=FetchState.PUBLISHED))
    await jobs.put_index(alice.did, job_id, IndexPart(state=IndexState.DONE))
    problem(await post(gateway, f"jobs/{job_id}/retry"), 409, "job_not_failed")
    problem(await post(gateway, f"jobs/{job_id}/cancel"), 409, "job_ended")


async def test_repo_backfill_is_paused_and_resumed(gateway: RunningGateway, bus: Bystander) -> None:
    control = await bus.js.key_value(BUCKET_CONTROL)
    assert (await get(gateway, "status")).json()["repo_backfill"] == {"paused": False}
    assert (await post(gateway, "repo-backfill/pause")).status_code == 204
    assert (await control.get("repo-backfill.paused")).value == b"true"
    assert (await get(gateway, "status")).json()["repo_backfill"] == {"paused": True}
    assert (await post(gateway, "repo-backfill/resume")).status_code == 204
    assert (await get(gateway, "status")).json()["repo_backfill"] == {"paused": False}


async def test_the_status_shows_the_whole_stack(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    workers, cursors = await bus.js.key_value(BUCKET_WORKERS), await bus.js.key_value(BUCKET_CURSORS)
    await workers.put("indexer.0", worker("indexer").model_dump_json().encode())
    await cursors.put("relay", b"12345")
    for account in world.accounts:
        await post(gateway, "backfill", json={"actor": account.did, "days": 0})
    status = (await get(gateway, "status")).json()
    assert {"indexer", "api-gateway"} == {one["service"] for one in status["workers"]}
    requests = next(one for one in status["streams"] if one["stream"] == "REQUESTS")
    assert (requests["messages"], requests["last_sequence"]) == (2, 2)
    assert requests["bytes"] > 0
    user = next(one for one in status["requests"] if one["lane"] == "user")
    assert (user["waiting"], user["in_flight"]) == (2, 0)
    assert [(one["lane"], one["partition"]) for one in status["lanes"]] == [
        (lane, p) for lane in ("live", "replay", "backfill") for p in range(16)
    ]
    assert status["jobs"] == {"queued": 2}
    assert status["cursors"] == {"relay": "12345"}
    assert status["ready"]["nats"] == "ok"


async def test_the_stack_is_ready_when_every_service_is(gateway: RunningGateway, bus: Bystander) -> None:
    ready = await gateway.client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["conditions"] == {
        "nats": "ok",
        "indexer": "no worker lives",
        "repo-backfill": "no worker lives",
        "firehose-backfill": "no worker lives",
    }
    workers = await bus.js.key_value(BUCKET_WORKERS)
    for service in ("indexer", "repo-backfill", "firehose-backfill"):
        await workers.put(f"{service}.0", worker(service).model_dump_json().encode())

    async def is_ready() -> bool:
        return (await gateway.client.get("/readyz")).status_code == 200

    await until(is_ready)
    await workers.put("indexer.0", worker("indexer", ready=False).model_dump_json().encode())

    async def is_unready() -> bool:
        return (await gateway.client.get("/readyz")).status_code == 503

    await until(is_unready)
    assert "connection refused" in (await gateway.client.get("/readyz")).json()["conditions"]["indexer"]
    assert (await gateway.client.get("/healthz")).status_code == 200


# -- imports


async def _cars(bus: Bystander) -> list[str]:
    store = await bus.js.object_store(OBJECTS_IMPORTS)
    try:
        return [item.name for item in await store.list(ignore_deletes=True)]
    except NotFoundError:
        return []


async def test_a_car_is_kept_for_its_job(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    alice.seed_records(3000)
    car = alice.car_bytes()
    assert len(car) > 500_000
    key = alice.key.did_key
    answer = await post(gateway, f"import?did={alice.did}&did_key={key}&days=30", content=car)
    assert answer.status_code == 202, answer.text
    queued = await bus.queued(alice.did)
    assert queued is not None
    assert (queued.job_id, queued.car_object, queued.did_key) == (answer.json()["job_id"], queued.job_id, key)
    assert (queued.days, queued.actor, queued.requested_by) == (30, alice.did, "operator")
    store = await bus.js.object_store(OBJECTS_IMPORTS)
    assert (await store.get(queued.job_id)).data == car
    assert list((gateway.home / "spool").iterdir()) == []


async def test_an_import_that_cannot_come_leaves_no_car(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice, bob = world.accounts

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"\0" * 100_000

    large = await post(gateway, f"import?did={alice.did}", content=endless())
    problem(large, 413, "car_too_large")
    problem(await post(gateway, f"import?did={alice.did}", content=b"\0" * 3_000_001), 413, "car_too_large")
    problem(await post(gateway, f"import?did={alice.did}", content=b""), 422, "car_truncated")
    problem(await post(gateway, "import?did=alice.sim.test", content=b"x"), 422, "syntax")
    problem(await post(gateway, "import", content=b"x"), 422, "invalid_input")
    problem(await post(gateway, f"import?did={alice.did}&days=-1", content=b"x"), 422, "invalid_input")
    problem(await post(gateway, f"import?did={alice.did}&did_key=did:key:zz", content=b"x"), 422, "no_key")
    running = await post(gateway, "backfill", json={"actor": bob.did, "days": 0})
    refused = problem(await post(gateway, f"import?did={bob.did}", content=b"x"), 409, "job_running")
    assert refused["job_id"] == running.json()["job_id"]
    assert await _cars(bus) == []
    assert await bus.queue_length() == 1


async def test_of_two_imports_at_once_one_is_kept(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    did = world.accounts[0].did
    answers = await asyncio.gather(*(post(gateway, f"import?did={did}", content=b"x" * 200_000) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    queued = await bus.queued(did)
    assert queued is not None
    assert await _cars(bus) == [queued.job_id]


async def test_an_import_is_not_retried_without_its_car(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    did = world.accounts[0].did
    job_id = (await post(gateway, f"import?did={did}", content=b"x")).json()["job_id"]
    await (await bus.jobs()).put_fetch(did, job_id, FetchPart(state=FetchState.FAILED, reason=Reason.CAR_HEADER))
    problem(await post(gateway, f"jobs/{job_id}/retry"), 409, "car_is_gone")


async def test_cars_that_nobody_will_read_are_removed(
    gateway: RunningGateway, bus: Bystander, world: World, nats_url: str
) -> None:
    alice, bob = world.accounts
    waiting = (await post(gateway, f"import?did={alice.did}", content=b"waiting")).json()["job_id"]
    ended = (await post(gateway, f"import?did={bob.did}", content=b"ended")).json()["job_id"]
    await (await bus.jobs()).put_fetch(bob.did, ended, FetchPart(state=FetchState.FAILED, reason=Reason.CAR_HEADER))
    await (await bus.js.object_store(OBJECTS_IMPORTS)).put("0006512bd5c1a0a1b2c3d4e5f6", b"orphan")
    for _ in range(3):  # a gateway that died before it had put all of a CAR
        await bus.js.publish(f"$O.{OBJECTS_IMPORTS}.C.PARTOFACAR", b"a chunk")
    connection = Bus(nats_broker(ServiceSettings(_env_file=None, nats_url=nats_url), "test"))
    await connection.connect()
    try:
        assert await remove_abandoned(connection, datetime.now(UTC) - timedelta(hours=1)) == 0
        assert await remove_abandoned(connection, datetime.now(UTC) + timedelta(hours=1)) == 3
    finally:
        await connection.close()
    assert await _cars(bus) == [waiting]
    (kept,) = (await bus.js.stream_info(f"OBJ_{OBJECTS_IMPORTS}", subjects_filter="$O.*.C.>")).state.subjects.values()
    assert kept == 1, "the chunk of the CAR that is waited for"


# -- the process


async def test_the_process_serves_and_stops_in_good_order(nats_url: str, tmp_path: Path) -> None:
    environment = os.environ | {
        "NATS_URL": nats_url,
        "GATEWAY_PORT": "0",
        "HEADWATER_HOME": str(tmp_path / "home"),
        "PLC_URL": "http://127.0.0.1:1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "api_gateway", env=environment, cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    log = ""
    while not (found := re.search(r"listening on port (\d+)", log)):
        line = await asyncio.wait_for(process.stderr.readline(), 60)
        assert line, log
        log += line.decode()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{found[1]}", timeout=30) as client:
        assert (await client.get("/healthz")).json() == {"service": "api-gateway", "alive": True}
    process.send_signal(signal.SIGTERM)
    _, rest = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, rest.decode()
    token = (tmp_path / "home" / FILE_NAME).read_text().strip()
    assert str(tmp_path / "home" / FILE_NAME) in log
    assert token not in log + rest.decode()


@pytest.mark.parametrize(
    ("variable", "value"), [("GATEWAY_DID", "nobody"), ("GATEWAY_PORT", "99999"), ("HEADWATER_COLDOWN_SECONDS", "1")]
)
async def test_a_wrong_setting_is_named_at_start(tmp_path: Path, variable: str, value: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "api_gateway",
        env=os.environ | {variable: value},
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == EXIT_CONFIG
    assert variable in said.decode()
