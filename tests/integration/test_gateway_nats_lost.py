"""NATS dies, freezes and comes back: what was answered 202 is there, what was answered 503 is not."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import httpx
import pytest

from api_gateway import acceptance
from api_gateway.auth.methods import Method
from gateway_harness import Bystander, RunningGateway, bearer, bystander, events, running_gateway, worker
from headwater.bus.jobs import CancelPart, FetchPart, FetchState
from headwater.bus.streams import BUCKET_WORKERS
from headwater.clock import now_us
from headwater_local.nats import EmbeddedNats
from headwater_local.ports import take_port
from headwater_local.program import started
from simulator.world import World
from waiting import until


class Nats:
    """A NATS server that the test can kill, freeze and start again on what it has stored."""

    def __init__(self, directory: Path) -> None:
        self._server = EmbeddedNats(directory / "nats", take_port())
        self._log = directory / "nats.log"
        self._running = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self._server.url

    def start(self) -> None:
        self._process = self._running.enter_context(started(self._server.program(), log=self._log))

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        self._running.close()


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[Nats]:
    server = Nats(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(seed=63)
    for _ in range(24):
        world.add_account()
    async with world:
        yield world


@pytest.fixture
async def gateway(nats_server: Nats, world: World, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(nats_server.url, world.plc.url, tmp_path / "home") as running:
        yield running


@pytest.fixture
async def bus(nats_server: Nats, gateway: RunningGateway) -> AsyncIterator[Bystander]:
    async with bystander(nats_server.url) as client:
        await client.answer_as_indexer()
        yield client


async def connected(gateway: RunningGateway) -> bool:
    return bool((await gateway.client.get("/readyz")).json()["conditions"]["nats"] == "ok")


async def operators_ask(gateway: RunningGateway, did: str) -> httpx.Response:
    body = {"actor": did, "days": 0}
    return await gateway.client.post("/api/admin/backfill", json=body, headers=gateway.operator)


async def test_without_nats_every_route_says_so(
    gateway: RunningGateway, bus: Bystander, world: World, nats_server: Nats
) -> None:
    alice = world.accounts[0]
    nats_server.kill()
    answers = [
        await gateway.ask(alice),
        await gateway.read(alice, "backfill", Method.LIST_BACKFILLS),
        await gateway.read(alice, "backfill/x", Method.GET_BACKFILL),
        await gateway.read(alice, "stats", Method.GET_STATS),
        await gateway.cancel(alice, "x"),
        await operators_ask(gateway, alice.did),
        await gateway.client.get("/api/admin/status", headers=gateway.operator),
        await gateway.client.post(f"/api/admin/import?did={alice.did}", content=b"x", headers=gateway.operator),
        await gateway.client.get("/api/admin/jobs", headers=gateway.operator),
        await gateway.client.get("/api/admin/hosts", headers=gateway.operator),
        await gateway.client.get("/api/admin/dead-letters", headers=gateway.operator),
        await gateway.client.get("/api/admin/dead-letters/1", headers=gateway.operator),
        await gateway.client.post("/api/admin/dead-letters/1/retry", headers=gateway.operator),
        await gateway.client.delete("/api/admin/dead-letters/1", headers=gateway.operator),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["reason"]) == (503, "unavailable"), answer.text
        assert int(answer.headers["retry-after"]) >= 1
    assert (await gateway.client.get("/healthz")).status_code == 200
    await until(lambda: _unready(gateway))
    nats_server.start()
    await until(lambda: connected(gateway))
    assert await bus.queue_length() == 0
    assert (await gateway.ask(alice)).status_code == 202


async def test_an_operators_page_looks_again_by_itself_when_nats_is_back(
    gateway: RunningGateway, bus: Bystander, nats_server: Nats
) -> None:
    token = gateway.operator["Authorization"].removeprefix("Bearer ")
    own = {"Sec-Fetch-Site": "same-origin"}
    await gateway.client.post("/admin/login", data={"token": token}, headers=own)
    nats_server.kill()
    for path in ("/admin", "/admin/jobs?state=failed", "/admin/dead-letters", "/admin/hosts", "/admin/firehose"):
        answer = await gateway.client.get(path, headers={"HX-Request": "true"})
        assert answer.status_code == 503, answer.text
        assert f'hx-get="{path}"' in answer.text, "the part that looks again is there"
        assert 'id="live"' in answer.text
    refused = await gateway.client.post("/admin/login", data={"token": token}, headers=own | {"Accept": "text/html"})
    assert (refused.status_code, "set-cookie" in refused.headers) == (503, False)
    nats_server.start()
    await until(lambda: connected(gateway))

    async def back() -> bool:
        answer = await gateway.client.get("/admin")
        return answer.status_code == 200 and "Overview" in answer.text

    await until(back)


async def _unready(gateway: RunningGateway) -> bool:
    answer = await gateway.client.get("/readyz")
    return answer.status_code == 503 and answer.json()["conditions"]["nats"] != "ok"


async def test_what_nats_kept_in_memory_alone_is_declared_again(
    gateway: RunningGateway, bus: Bystander, nats_server: Nats
) -> None:
    nats_server.kill()
    nats_server.start()

    async def heard() -> bool:
        answer = await gateway.client.get("/api/admin/status", headers=gateway.operator)
        return answer.status_code == 200 and [one["service"] for one in answer.json()["workers"]] == ["api-gateway"]

    await until(heard)
    await (await bus.js.key_value(BUCKET_WORKERS)).put("indexer.0", worker("indexer").model_dump_json().encode())


@pytest.mark.parametrize("reached", [1, 10, 18, 24])
async def test_killed_among_requests_it_loses_and_invents_none(
    gateway: RunningGateway, bus: Bystander, world: World, nats_server: Nats, reached: int
) -> None:
    """The server dies when so many have come as far as the question about the cooldown."""
    asking = [asyncio.create_task(gateway.ask(account, 1)) for account in world.accounts]

    async def so_far() -> bool:
        return len(bus.asked) >= reached

    await until(so_far, pause=0.001)
    nats_server.kill()
    await asyncio.sleep(0.3)
    nats_server.start()
    answers = dict(zip((account.did for account in world.accounts), await asyncio.gather(*asking), strict=True))
    assert {answer.status_code for answer in answers.values()} <= {202, 503}
    await until(lambda: connected(gateway))
    await until(lambda: _settled(gateway))
    for did, answer in answers.items():
        queued = await bus.queued(did)
        jobs = await (await bus.jobs()).jobs_of(did)
        if answer.status_code == 202:
            assert queued is not None
            assert [job.job_id for job in jobs] == [queued.job_id] == [answer.json()["job_id"]]
        else:
            assert queued is None
            assert all(job.state == "cancelled" for job in jobs)


async def _settled(gateway: RunningGateway) -> bool:
    """Whether nothing goes on any more that an answer has left behind."""
    return not [task for task in asyncio.all_tasks() if task.get_name().startswith(("withdraw ", "part of "))]


async def test_a_short_freeze_is_waited_for(
    gateway: RunningGateway, bus: Bystander, world: World, nats_server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publish goes out twice or more, with one Nats-Msg-Id: it is one request."""
    monkeypatch.setattr(acceptance, "PATIENCE_SECONDS", 30.0)
    alice = world.accounts[0]
    nats_server.send(signal.SIGSTOP)
    asking = asyncio.create_task(operators_ask(gateway, alice.did))
    await asyncio.sleep(3)
    nats_server.send(signal.SIGCONT)
    answer = await asking
    assert answer.status_code == 202, answer.text
    assert await bus.queue_length() == 1
    queued = await bus.queued(alice.did)
    assert queued is not None
    assert queued.job_id == answer.json()["job_id"]


async def test_a_request_that_nobody_confirmed_is_withdrawn(
    gateway: RunningGateway, bus: Bystander, world: World, nats_server: Nats
) -> None:
    """The server gets the message after the answer was given up: a job must not come of it."""
    alice = world.accounts[0]
    nats_server.send(signal.SIGSTOP)
    answer = await operators_ask(gateway, alice.did)
    assert (answer.status_code, answer.json()["reason"]) == (503, "unavailable")
    job_id = answer.json()["job_id"]
    nats_server.send(signal.SIGCONT)
    await until(lambda: _settled(gateway))
    assert await bus.queued(alice.did) is None
    found = await (await bus.jobs()).status(alice.did, job_id)
    # It had come in, or the test tests nothing.
    assert found is not None
    assert found.state == "cancelled"
    assert (await operators_ask(gateway, alice.did)).status_code == 202


async def test_following_survives_a_restart(
    gateway: RunningGateway, bus: Bystander, world: World, nats_server: Nats
) -> None:
    alice = world.accounts[0]
    job_id = (await gateway.ask(alice)).json()["job_id"]
    jobs = await bus.jobs()
    seen = []
    path, headers = f"/api/user/backfill/{job_id}/events", bearer(alice, Method.GET_BACKFILL)
    async with gateway.client.stream("GET", path, headers=headers) as response:
        async for job in events(response):
            seen.append(job["state"])
            if job["state"] == "queued":
                nats_server.kill()
                await asyncio.sleep(0.5)
                nats_server.start()
                await until(lambda: connected(gateway))
                await jobs.put_cancel(alice.did, job_id, CancelPart(requested_at_us=now_us()))
                await jobs.put_fetch(alice.did, job_id, FetchPart(state=FetchState.FETCHING))
            elif job["state"] == "fetching":
                await jobs.put_fetch(alice.did, job_id, FetchPart(state=FetchState.CANCELLED))
    assert seen[0] == "queued"
    assert seen[-1] == "cancelled"


async def test_a_gateway_that_starts_first_waits_for_nats(world: World, tmp_path: Path) -> None:
    server = Nats(tmp_path)
    async with AsyncExitStack() as stack:
        stack.callback(server.stop)
        starting = asyncio.create_task(
            stack.enter_async_context(running_gateway(server.url, world.plc.url, tmp_path / "home"))
        )
        await asyncio.sleep(1.5)
        assert not starting.done()
        server.start()
        gateway = await starting
        assert (await operators_ask(gateway, world.accounts[0].did)).status_code == 202
