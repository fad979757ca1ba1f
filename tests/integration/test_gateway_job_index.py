"""The index of all jobs says what a whole read of the bucket says, whatever happened between two looks."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from api_gateway import job_index
from api_gateway.bus import Bus
from api_gateway.job_index import JobIndex
from headwater.bus.job_store import JobStore
from headwater.bus.jobs import (
    BackfillRequest,
    CancelPart,
    FetchPart,
    FetchState,
    IndexPart,
    IndexState,
    JobState,
    job_key,
)
from headwater.bus.streams import BUCKET_JOBS, apply_topology
from headwater.bus.subjects import RequestLane
from headwater.errors import InvariantError
from headwater.service import nats_broker
from headwater.settings import ServiceSettings


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    connection = Bus(nats_broker(ServiceSettings(_env_file=None, nats_url=nats_url), "test"))
    await connection.connect()
    yield connection
    await connection.close()


@pytest.fixture
def index(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> JobIndex:
    monkeypatch.setattr(job_index, "_GHOST_SECONDS", 0.0)
    return JobIndex(bus)


def did_of(number: int) -> str:
    return f"did:plc:{number:024d}"


def id_of(number: int) -> str:
    return f"{number:014x}{number:012x}"


async def put(jobs: JobStore, number: int, by: str = "user") -> None:
    request = BackfillRequest(
        job_id=id_of(number),
        did=did_of(number),
        lane=RequestLane.USER if by == "user" else RequestLane.CRAWL,
        days=0,
        cutoff_us=None,
        requested_at_us=number,
        requested_by=by,  # type: ignore[arg-type]
        actor="a",
    )
    await jobs.put_request(request)


async def advance(jobs: JobStore, number: int, chance: random.Random) -> None:
    """Something happens to a job, in any order."""
    did, job_id = did_of(number), id_of(number)
    attempt = chance.randint(1, 3)
    match chance.randrange(4):
        case 0:
            await jobs.put_cancel(did, job_id, CancelPart(requested_at_us=1))
        case 1 | 2:
            await jobs.put_fetch(did, job_id, FetchPart(state=chance.choice(list(FetchState)), attempt=attempt))
        case _:
            await jobs.put_index(did, job_id, IndexPart(state=chance.choice(list(IndexState)), attempt=attempt))


async def everything(index: JobIndex, state: JobState | None = None, limit: int = 7) -> list[str]:
    """The ids of all pages."""
    found: list[str] = []
    before = None
    while True:
        jobs, before = await index.page(state=state, before=before, limit=limit)
        found += [job.job_id for job in jobs]
        if before is None:
            return found


async def check(index: JobIndex, jobs: JobStore) -> None:
    known = await jobs.all_jobs()
    assert await index.counts() == Counter(job.state for job in known)
    for state in (None, *JobState):
        wanted = sorted((job.job_id for job in known if state in (None, job.state)), reverse=True)
        assert await everything(index, state) == wanted, state
    shown, _ = await index.page(limit=1000)
    assert sorted(shown, key=lambda job: job.job_id) == sorted(known, key=lambda job: job.job_id)


async def test_it_says_what_the_bucket_says_after_any_course(bus: Bus, index: JobIndex) -> None:
    chance = random.Random(5)
    assert (await index.counts(), await index.page()) == ({}, ([], None))
    alive: list[int] = []
    for round_ in range(6):
        for number in range(round_ * 10, round_ * 10 + 10):
            await put(bus.jobs, number, chance.choice(["user", "system"]))
            alive.append(number)
        for _ in range(40):
            await advance(bus.jobs, chance.choice(alive), chance)
        for number in chance.sample(alive, 3):
            # As repo-backfill does with done jobs of the system's own: no marker is left.
            await bus.jobs.forget(did_of(number), id_of(number))
            alive.remove(number)
        await check(index, bus.jobs)


async def test_a_bucket_that_was_made_anew_is_read_anew(bus: Bus, index: JobIndex) -> None:
    for number in range(20):
        await put(bus.jobs, number)
    await check(index, bus.jobs)
    await bus.js.delete_stream(f"KV_{BUCKET_JOBS}")
    await apply_topology(bus.js)
    for number in range(3, 6):
        await put(bus.jobs, number)
    await check(index, bus.jobs)


async def test_of_very_many_the_newest_are_known(bus: Bus, index: JobIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_index, "MAX_JOBS", 10)
    monkeypatch.setattr(job_index, "_AT_ONCE", 7)
    for number in range(50):
        await put(bus.jobs, number)
        if number % 9 == 0:
            await index.counts()
    assert len(index._jobs) <= 11
    found = await everything(index)
    assert found[:10] == [id_of(number) for number in range(49, 39, -1)]


async def test_a_look_at_many_reads_few(bus: Bus, index: JobIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read once is not read again."""
    for number in range(300):
        await put(bus.jobs, number)
    await index.counts()
    read = []
    taken = JobIndex._take
    monkeypatch.setattr(JobIndex, "_take", lambda self, msg: (read.append(msg), taken(self, msg)))
    await index.page(limit=10)
    assert read == []
    await put(bus.jobs, 300)
    await index.page(limit=10)
    assert len(read) == 1


@pytest.mark.parametrize("value", [b"", b"junk", b"[]", b"{}", b'{"state": "no such state"}'])
async def test_a_part_of_ours_that_is_malformed_is_loud(bus: Bus, index: JobIndex, value: bytes) -> None:
    bucket = await bus.js.key_value(BUCKET_JOBS)
    await bucket.put(job_key(did_of(1), id_of(1), "fetch"), value)
    with pytest.raises(InvariantError):
        await index.counts()
