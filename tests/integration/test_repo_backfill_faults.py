"""What repo-backfill makes of PDSes that misbehave, by accident or on purpose. Other jobs are unharmed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from backfill_rig import JobState, Rig, backfill_bus, running, settings_for, world_of_two_hosts
from headwater.bus.jobs import CancelPart, FetchPart, FetchState
from headwater.clock import now_us
from headwater.errors import Reason
from repo_backfill import repo_car
from repo_backfill.progress import Progress
from repo_backfill.signals import Switchboard
from simulator.faults import (
    GET_REPO,
    Answer,
    Endless,
    Fault,
    FlipBit,
    Gate,
    GzipBomb,
    Hang,
    Redirect,
    Reset,
    Slow,
    Truncate,
)
from simulator.plc import did_document
from simulator.world import World

HOSTILE = Path(__file__).parents[3] / "shared" / "data" / "hostile"

bus = backfill_bus
world = world_of_two_hosts


@pytest.mark.parametrize(
    "fault",
    [
        Answer(status=429, headers={"Retry-After": "1"}),
        Answer(status=429),
        Answer(status=500),
        Answer(status=503, headers={"Retry-After": "1"}),
        Reset(at=10_000),
        Truncate(at=10_000, declare="whole"),
    ],
    ids=lambda fault: f"{type(fault).__name__}-{getattr(fault, 'status', '')}-{len(getattr(fault, 'headers', {}))}",
)
async def test_what_goes_wrong_once_is_tried_again(bus: Rig, world: World, tmp_path: Path, fault: Fault):
    account = world.add_account()
    account.seed_records(200)
    fault.times = 1
    account.fault(fault)
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(account.did)
        status = await bus.final(account.did, job)
    assert (status.state, status.attempt) == (JobState.DONE, 2), status
    assert account.host.count(GET_REPO) == 2
    assert set(bus.seen(job).rows()) == set(account.expected())


async def test_while_it_waits_a_job_says_why_and_until_when(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(10)
    account.fault(Answer(status=429, headers={"Retry-After": "3"}))
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        before = now_us()
        job = await bus.ask(account.did)
        waits = await bus.until(account.did, job, lambda status: status.next_try_at_us is not None)
        ended = await bus.final(account.did, job)
    assert (waits.state, waits.reason) == (JobState.QUEUED, Reason.UNREACHABLE)
    assert waits.detail is not None
    assert "429" in waits.detail
    assert waits.next_try_at_us is not None
    assert waits.next_try_at_us - before >= 3_000_000
    assert (ended.state, ended.reason) == (JobState.DONE, None)


async def test_a_host_that_asked_to_wait_waits_and_others_go_on(bus: Rig, world: World, tmp_path: Path):
    first, second = (world.add_account(host=world.hosts[0]) for _ in range(2))
    other = world.add_account(host=world.hosts[1])
    for account in (first, second, other):
        account.seed_records(10)
    first.fault(Answer(status=429, headers={"Retry-After": "300"}))
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(first.did)
        await bus.until(first.did, job, lambda status: status.next_try_at_us is not None)
        waiting = await bus.ask(second.did)
        status = await bus.until(second.did, waiting, lambda status: status.next_try_at_us is not None)
        assert (status.state, status.reason) == (JobState.QUEUED, None)
        assert (await bus.run(other.did)).state is JobState.DONE
    assert world.hosts[0].count(GET_REPO) == 1


async def test_after_so_many_tries_a_job_fails(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(10)
    account.fault(Answer(status=500, times=None))
    async with running(settings_for(bus.url, world.plc.url, tmp_path, headwater_fetch_tries=3)):
        status = await bus.run(account.did)
        await bus.queue_emptied()
    assert (status.state, status.reason) == (JobState.FAILED, Reason.UNREACHABLE)
    assert account.host.count(GET_REPO) == 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (FlipBit(at=-20), Reason.BLOCK_HASH),
        (Endless(limit=1 << 30), Reason.CAR_TOO_LARGE),
        (GzipBomb(size=1 << 30), Reason.CAR_HEADER),
        (Redirect(location="http://169.254.169.254/latest/meta-data/"), Reason.HOST_FORBIDDEN),
        (Answer(status=200, body=b"<html>hello</html>" * 20, content_type="text/html"), Reason.CAR_HEADER),
        (Answer(status=403, body=b"{}"), Reason.REFUSED_BY_HOST),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fault) else None,
)
async def test_what_is_wrong_for_good_fails_at_once(
    bus: Rig, world: World, tmp_path: Path, fault: Fault, reason: Reason
):
    account, sibling = world.add_account(host=world.hosts[0]), world.add_account(host=world.hosts[0])
    account.seed_records(200)
    sibling.seed_records(20)
    fault.times = None
    account.fault(fault)
    settings = settings_for(bus.url, world.plc.url, tmp_path, headwater_car_max_bytes=16 << 20)
    async with running(settings):
        jobs = await bus.ask(account.did), await bus.ask(sibling.did)
        status = await bus.final(account.did, jobs[0])
        unharmed = await bus.final(sibling.did, jobs[1])
    assert (status.state, status.reason, status.attempt) == (JobState.FAILED, reason, 1), status
    assert bus.seen(jobs[0]).rows() == {}
    assert unharmed.state is JobState.DONE


async def test_who_cancels_as_the_job_begins_to_wait_is_heard(
    bus: Rig, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The gateway has seen it at work, and so does not send the request again."""
    account = world.add_account()
    account.fault(Answer(status=429, headers={"Retry-After": "900"}, times=None))
    write = Progress.write

    async def cancelled_before(progress: Progress, **changes: Any) -> FetchPart:
        if changes.get("state") is FetchState.WAITING:
            await bus.jobs.put_cancel(account.did, job, CancelPart(requested_at_us=now_us()))
        return await write(progress, **changes)

    async def unheard(*_: object) -> None:
        """Messages can be lost."""

    monkeypatch.setattr(Progress, "write", cancelled_before)
    monkeypatch.setattr(Switchboard, "_heard", unheard)
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(account.did)
        assert (await bus.final(account.did, job)).state is JobState.CANCELLED


async def test_a_host_that_never_ends_keeps_nobody_of_another_waiting(bus: Rig, world: World, tmp_path: Path):
    slow, other = world.hosts
    stuck = [world.add_account(host=slow) for _ in range(60)]
    for account in stuck:
        account.seed_records(5)
    gate = slow.faults.add(Gate(times=None))
    account = world.add_account(host=other)
    account.seed_records(5)
    # Places for 16 jobs, and 2 for fetching.
    async with running(settings_for(bus.url, world.plc.url, tmp_path, headwater_fetch_concurrency=2)):
        jobs = [await bus.ask(each.did) for each in stuck]
        await asyncio.wait_for(gate.reached.wait(), 60)
        assert (await bus.run(account.did)).state is JobState.DONE
        statuses = [await bus.jobs.status(each.did, job) for each, job in zip(stuck, jobs, strict=True)]
        assert not [status for status in statuses if status is None or status.state.final or status.reason]
        gate.open()
        assert (await bus.final(stuck[0].did, jobs[0])).state is JobState.DONE


async def test_a_refusal_is_of_when_the_host_was_asked(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.status = "suspended"
    gate = account.host.faults.add(Gate())
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(account.did)
        await asyncio.wait_for(gate.reached.wait(), 60)
        asked_us = now_us()
        gate.open()
        status = await bus.final(account.did, job)
    assert (status.state, status.reason) == (JobState.FAILED, Reason.SUSPENDED)
    [end] = bus.seen(job).ends
    assert 0 < end.at_us <= asked_us, "what the firehose tells from then on is newer"


@pytest.mark.parametrize("times", [1, None])
async def test_a_repo_that_ends_early_is_asked_for_once_more(bus: Rig, world: World, tmp_path: Path, times: int | None):
    account = world.add_account()
    account.seed_records(200)
    account.fault(Truncate(at=10_000, declare="part", times=times))
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        status = await bus.run(account.did)
    if times is None:
        assert (status.state, status.reason) == (JobState.FAILED, Reason.CAR_TRUNCATED)
    else:
        assert (status.state, status.reason) == (JobState.DONE, None)
    assert account.host.count(GET_REPO) == 2


async def test_a_trickle_is_not_waited_for(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(200)
    account.fault(Slow(bytes_per_s=100, times=None))
    settings = settings_for(bus.url, world.plc.url, tmp_path, headwater_fetch_seconds=1, headwater_fetch_tries=1)
    async with running(settings):
        status = await bus.run(account.did)
    assert (status.state, status.reason) == (JobState.FAILED, Reason.UNREACHABLE)


async def test_a_silent_host_holds_up_nobody(bus: Rig, world: World, tmp_path: Path):
    account, other = world.add_account(host=world.hosts[0]), world.add_account(host=world.hosts[1])
    other.seed_records(10)
    account.fault(Hang(seconds=200))
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(account.did)
        assert (await bus.run(other.did)).state is JobState.DONE
        status = await bus.status(account.did, job)
        assert status is not None
        assert not status.state.final


async def test_a_forged_repo_is_refused(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(20)
    forged = account.car_bytes(key=account.new_key())
    account.fault(Answer(body=forged, content_type="application/vnd.ipld.car"))
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        status = await bus.run(account.did)
    assert (status.state, status.reason) == (JobState.FAILED, Reason.BAD_SIGNATURE)


async def test_requests_to_one_host_stay_within_its_limits(bus: Rig, world: World, tmp_path: Path):
    accounts = [world.add_account(host=world.hosts[0]) for _ in range(12)]
    for account in accounts:
        account.seed_records(3)
    world.hosts[0].faults.add(Hang(seconds=0.05, times=None))
    async with running(settings_for(bus.url, world.plc.url, tmp_path, headwater_host_connections=2)):
        jobs = [(account, await bus.ask(account.did)) for account in accounts]
        for account, job in jobs:
            assert (await bus.final(account.did, job)).state is JobState.DONE
    assert world.hosts[0].traffic.peak <= 2


def _hostile_cases() -> list[Any]:
    index = HOSTILE / "index.json"
    if not index.exists():
        return []
    return [case for case in json.loads(index.read_text())["cases"] if case["layer"] != "frame"]


_REFUSED = {
    "car-empty.bin": {Reason.CAR_TRUNCATED},
    "car-truncated-real.car": {Reason.CAR_TRUNCATED},
    "car-bitflip-real.car": {Reason.BLOCK_HASH},
    "car-root-absent.car": {Reason.BLOCK_MISSING},
    "commit-other-did.car": {Reason.COMMIT_DID},
    "mst-missing-subtree.car": {Reason.MST_INCOMPLETE},
    "mst-cycle-lying-cids.car": {Reason.BLOCK_HASH},
}
_FAMILIES = {
    "car": ("car_", "block_", "cid_"),
    "commit": ("commit_", "bad_signature", "cid_", "mst_"),
    "mst": ("mst_", "block_", "cid_"),
}
_ACCEPTED_POLICY = {
    "car-two-roots.car",
    "commit-extra-field.car",
    "record-type-mismatch.car",
    "record-no-type.car",
    "record-createdat-int.car",
}
_RECORD_POLICY = {
    "record-bigint.car": Reason.RECORD_INTEGER,
    "record-nested-200.car": Reason.RECORD_TOO_DEEP,
    "record-1mb-text.car": Reason.RECORD_TOO_LARGE,
}


def _check(case: dict[str, Any], status: Any) -> None:
    name, expect = case["file"], case["expect"]
    if name == "mst-value-missing.car":
        assert (status.state, status.rejected) == (JobState.DONE, {Reason.RECORD_MISSING: 1}), status
    elif expect == "accept" or name in _ACCEPTED_POLICY:
        assert (status.state, status.rejected) == (JobState.DONE, {}), (name, status)
    elif expect == "reject-record" or name in _RECORD_POLICY:
        assert status.state is JobState.DONE, (name, status)
        assert sum(status.rejected.values()) == 1, (name, status)
        assert status.records_total > 1
        if name in _RECORD_POLICY:
            assert set(status.rejected) == {_RECORD_POLICY[name]}, (name, status)
    else:
        assert status.state is JobState.FAILED, (name, status)
        if name in _REFUSED:
            assert status.reason in _REFUSED[name], (name, status)
        assert status.reason.value.startswith(_FAMILIES[case["layer"]]), (name, status)


@pytest.mark.skipif(not _hostile_cases(), reason="../shared/data/hostile is not here")
async def test_every_hostile_repo_gets_its_verdict_and_harms_nobody(bus: Rig, world: World, tmp_path: Path):
    index = json.loads((HOSTILE / "index.json").read_text())
    did, pds = index["did"], world.hosts[0]
    document = did_document(did, "hostile.sim.test", world.add_account().key, pds.url)
    document["verificationMethod"][0]["publicKeyMultibase"] = index["did_key"].removeprefix("did:key:")
    world.plc.register(did, document)
    honest = world.add_account(host=pds)
    honest.seed_records(30)
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        for case in _hostile_cases():
            body = (HOSTILE / case["file"]).read_bytes()
            pds.faults.clear()
            pds.faults.add(Answer(did=did, body=body, content_type="application/vnd.ipld.car", times=None))
            job = await bus.ask(did)
            status = await bus.final(did, job)
            _check(case, status)
            if status.state is JobState.FAILED:
                assert bus.seen(job).batches == {}
            await bus.queue_emptied()
        assert (await bus.run(honest.did)).state is JobState.DONE


async def test_a_mistake_of_ours_ends_that_job_alone(
    bus: Rig, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    account, sibling = world.add_account(), world.add_account()
    account.seed_records(3)
    sibling.seed_records(5)
    read = repo_car.parse_commit

    def stumble(block: bytes) -> Any:
        commit = read(block)
        if commit.did == account.did:
            raise ZeroDivisionError
        return commit

    monkeypatch.setattr(repo_car, "parse_commit", stumble)
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        jobs = await bus.ask(account.did), await bus.ask(sibling.did)
        status = await bus.final(account.did, jobs[0])
        assert (status.state, status.reason, status.attempt) == (JobState.FAILED, Reason.INTERNAL, 2)
        assert (await bus.final(sibling.did, jobs[1])).state is JobState.DONE
