"""Who may write a job's fetch part: one worker at a time, and whoever is overtaken notices."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from nats.js.kv import KeyValue

from backfill_rig import JobState, Rig, backfill_bus, running, settings_for
from headwater.bus.jobs import FetchPart, FetchState
from headwater.bus.streams import BUCKET_JOBS
from headwater.clock import now_us
from headwater.errors import InvariantError
from repo_backfill import progress
from repo_backfill.progress import OvertakenError, Progress
from simulator.faults import Gate
from simulator.world import World

DID, JOB = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "job1"
CLAIM = {"state": FetchState.RESOLVING, "attempt": 1}

bus = backfill_bus


@pytest.fixture
async def bucket(bus: Rig) -> KeyValue:
    return await bus.js.key_value(BUCKET_JOBS)


async def test_what_one_worker_writes_the_next_one_reads(bucket: KeyValue):
    first, second = Progress(bucket, DID, JOB), Progress(bucket, DID, JOB)
    assert await first.read() is None
    await first.write(**CLAIM)
    first.note(bytes_fetched=7)
    await first.write(state=FetchState.FETCHING)
    part = await second.read()
    assert part is not None
    assert (part.state, part.bytes_fetched) == (FetchState.FETCHING, 7)


async def test_what_is_noted_is_written_only_where_it_stays_for_a_moment(bucket: KeyValue):
    first, second = Progress(bucket, DID, JOB), Progress(bucket, DID, JOB)
    await first.write(**CLAIM)
    first.note(state=FetchState.FETCHING)
    async with first.told_soon():
        pass
    part = await second.read()
    assert part is not None
    assert part.state is FetchState.RESOLVING
    async with first.told_soon():
        for _ in range(200):
            part = await second.read()
            if part is not None and part.state is FetchState.FETCHING:
                break
            await asyncio.sleep(0.02)
    assert part == first.part
    assert part is not None
    assert part.state is FetchState.FETCHING


async def test_what_is_over_in_a_moment_is_not_written_however_old_the_last_write_is(
    bucket: KeyValue, monkeypatch: pytest.MonkeyPatch
):
    first, second = Progress(bucket, DID, JOB), Progress(bucket, DID, JOB)
    monkeypatch.setattr(progress, "WRITE_SECONDS", 0.0)
    await first.write(**CLAIM)
    monkeypatch.setattr(progress, "WRITE_SECONDS", 600.0)
    async with first.told_soon():
        await first.report(bytes_fetched=7)
    part = await second.read()
    assert part is not None
    assert part.bytes_fetched == 0
    await first.write()
    part = await second.read()
    assert part is not None
    assert part.bytes_fetched == 7


async def test_of_two_claims_one_counts(bucket: KeyValue):
    first, second = Progress(bucket, DID, JOB), Progress(bucket, DID, JOB)
    await first.read()
    await second.read()
    await first.write(**CLAIM, started_at_us=1)
    with pytest.raises(OvertakenError):
        await second.write(**CLAIM, started_at_us=2)
    await first.write(state=FetchState.FETCHING)


async def test_who_was_overtaken_writes_nothing_more(bucket: KeyValue):
    stalled, other = Progress(bucket, DID, JOB), Progress(bucket, DID, JOB)
    await stalled.read()
    await stalled.write(**CLAIM)
    await other.read()
    await other.write(state=FetchState.RESOLVING, attempt=2)
    with pytest.raises(OvertakenError):
        await stalled.write(state=FetchState.PUBLISHED)
    part = await other.read()
    assert part is not None
    assert (part.state, part.attempt) == (FetchState.RESOLVING, 2)


class Forgetful:
    """A bucket whose first acknowledgement is lost on the way."""

    def __init__(self, bucket: KeyValue) -> None:
        self._bucket = bucket
        self.lost = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)

    async def update(self, key: str, value: bytes, last: int | None = None) -> int:
        revision = await self._bucket.update(key, value, last=last)
        if not self.lost:
            self.lost = 1
            raise nats.errors.TimeoutError
        return revision


async def test_an_own_write_whose_acknowledgement_was_lost_is_recognized(bucket: KeyValue):
    progress = Progress(Forgetful(bucket), DID, JOB)  # type: ignore[arg-type]
    await progress.read()
    await progress.write(**CLAIM)
    await progress.write(state=FetchState.FETCHING)
    assert progress.part is not None
    assert progress.part.state is FetchState.FETCHING


async def test_a_part_of_ours_that_does_not_parse_is_an_invariant_broken(bus: Rig, bucket: KeyValue):
    await bucket.put(f"did=plc=aaaaaaaaaaaaaaaaaaaaaaaa.{JOB}.fetch", b"{}")
    with pytest.raises(InvariantError):
        await Progress(bucket, DID, JOB).read()


async def test_a_worker_whose_job_went_to_another_leaves_it_alone(bus: Rig, bucket: KeyValue, tmp_path: Path):
    async with World(seed=7, now_us=now_us()) as world:
        account = world.add_account()
        account.seed_records(300)
        gate = account.host.faults.add(Gate(at=20_000))
        async with running(settings_for(bus.url, world.plc.url, tmp_path)):
            job = await bus.ask(account.did)
            await asyncio.wait_for(gate.reached.wait(), 60)
            other = await _taken_over(Progress(bucket, account.did, job))
            gate.open()
            await asyncio.sleep(1.0)
            part = await bus.jobs.fetch(account.did, job)
            assert part == FetchPart.model_validate(other.part)
            assert bus.seen(job).ends == []
            assert await bus.waiting_requests() == 1
        status = await bus.status(account.did, job)
        assert status is not None
        assert status.state is JobState.RESOLVING


async def _taken_over(other: Progress) -> Progress:
    """Claim the next attempt, in a moment when its worker is not writing figures itself."""
    for _ in range(20):
        before = await other.read()
        assert before is not None
        with suppress(OvertakenError):
            await other.write(state=FetchState.RESOLVING, attempt=before.attempt + 1)
            return other
    raise AssertionError("the worker never stopped writing")
