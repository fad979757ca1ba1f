"""repo-backfill as a process, killed; NATS killed under it. Nothing is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from backfill_rig import JobState, Rig, backfill_bus, rig, running, settings_for
from headwater.bus.jobs import FetchState
from headwater.bus.streams import REQUEST_ACK_WAIT_SECONDS, STREAM_REQUESTS, request_consumer
from headwater.bus.subjects import RequestLane
from headwater.clock import now_us
from headwater_local.nats import EmbeddedNats
from headwater_local.ports import take_port
from headwater_local.program import started
from simulator.faults import GET_REPO, Gate
from simulator.world import World

SOON = 2.0

bus = backfill_bus


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World(seed=7, now_us=now_us()) as made:
        yield made


@contextmanager
def process(nats_url: str, plc_url: str, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The service in a process of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")},
        "NATS_URL": nats_url,
        "PLC_URL": plc_url,
        "ALLOW_PRIVATE_HOSTS": "1",
        "HEADWATER_HOME": str(home),
    }
    with (home / "service.log").open("wb") as log:
        child = subprocess.Popen([sys.executable, "-m", "repo_backfill"], env=environment, cwd=home, stderr=log)
        try:
            yield child
        finally:
            child.kill()
            child.wait()


async def redeliver_soon(bus: Rig) -> None:
    """Shorten the wait after which the request of a dead worker goes to another one."""
    name = request_consumer(RequestLane.USER)
    config = (await bus.js.consumer_info(STREAM_REQUESTS, name)).config
    assert config.ack_wait == REQUEST_ACK_WAIT_SECONDS
    config.ack_wait = SOON
    await bus.js.add_consumer(STREAM_REQUESTS, config)


@pytest.mark.parametrize("at", [None, 30_000], ids=["before the CAR", "in the middle of the CAR"])
async def test_killed_while_it_fetches(bus: Rig, world: World, tmp_path: Path, at: int | None):
    account = world.add_account()
    account.seed_records(600)
    gate = account.host.faults.add(Gate(at=at))
    with process(bus.url, world.plc.url, tmp_path) as child:
        job = await bus.ask(account.did)
        await asyncio.wait_for(gate.reached.wait(), 60)
        await redeliver_soon(bus)
        child.kill()
        child.wait()
    gate.open()
    with process(bus.url, world.plc.url, tmp_path):
        # Its own heartbeats keep the request for as long as the topology says; the declared wait is restored at start.
        status = await bus.final(account.did, job, seconds=90)
        await bus.queue_emptied()
    assert (status.state, status.attempt) == (JobState.DONE, 2)
    seen = bus.seen(job)
    assert set(seen.rows()) == set(account.expected())
    assert [end.attempt for end in seen.ends] == [2]


async def test_a_terminated_process_ends_soon_and_in_good_order(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(600)
    gate = account.host.faults.add(Gate(at=30_000))
    with process(bus.url, world.plc.url, tmp_path) as child:
        job = await bus.ask(account.did)
        await asyncio.wait_for(gate.reached.wait(), 60)
        child.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(child.wait, 30) == 0
    gate.open()
    part = await bus.jobs.fetch(account.did, job)
    assert part is not None
    assert (part.state, part.tries) == (FetchState.WAITING, 0)
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        assert (await bus.final(account.did, job)).state is JobState.DONE


async def test_a_wrong_setting_is_said_by_name(tmp_path: Path):
    environment = {**os.environ, "HEADWATER_FETCH_TRIES": "none", "HEADWATER_FETCH_TIRES": "3"}
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "repo_backfill"], env=environment, cwd=tmp_path, capture_output=True
    )
    assert ended.returncode == 78
    assert b"HEADWATER_FETCH_TRIES" in ended.stderr
    assert b"HEADWATER_FETCH_TIRES" in ended.stderr


async def test_jobs_go_on_when_nats_is_killed_and_comes_back(world: World, tmp_path: Path):
    account, waiting = world.add_account(), world.add_account()
    account.seed_records(3000)
    waiting.seed_records(10)
    gate = account.fault(Gate(at=400_000))
    with tempfile.TemporaryDirectory(prefix="headwater-test-") as directory, ExitStack() as servers:
        server = EmbeddedNats(Path(directory) / "nats", take_port())
        log = Path(directory) / "nats.log"
        program = servers.enter_context(started(server.program(), log=log))
        async with rig(server.url) as bus, running(settings_for(server.url, world.plc.url, tmp_path)):
            job = await bus.ask(account.did)
            await asyncio.wait_for(gate.reached.wait(), 60)
            program.kill()
            program.wait()
            gate.open()
            await asyncio.sleep(1)
            servers.enter_context(started(server.program(), log=log))
            kept = await bus.end_kept(job)
            status = await bus.final(account.did, job)
            assert (status.state, status.attempt) == (JobState.DONE, 1)
            assert set(kept.rows()) == set(account.expected())
            assert account.host.count(GET_REPO, did=account.did) == 1
            assert (await bus.run(waiting.did)).state is JobState.DONE
            await bus.queue_emptied()
