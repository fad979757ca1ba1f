"""A rig for tests of repo-backfill: the service in this process, and somebody in the indexer's place."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
import nats.errors
import orjson
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from bus_client import bus_client
from headwater.bus.job_store import JobStore
from headwater.bus.jobs import BackfillRequest, CancelPart, IndexPart, IndexState, JobState, JobStatus
from headwater.bus.messages import BackfillMessage, Outcome, SnapshotBatch, SnapshotEnd, batch_of, decode_backfill
from headwater.bus.queries import RepoState, RepoStates, RepoStatesQuery
from headwater.bus.round_trip import round_trip
from headwater.bus.streams import BUCKET_CONTROL, BUCKET_JOBS, STREAM_BACKFILL, STREAM_REQUESTS, apply_topology
from headwater.bus.subjects import RECORDS_BACKFILL, REPO_STATES, RequestLane, request_subject
from headwater.clock import DAY_US, now_us
from headwater.health import Readiness
from headwater.service import Tasks
from repo_backfill.app import worker
from repo_backfill.intake import PAUSED_KEY, Intake
from repo_backfill.settings import RepoBackfillSettings
from simulator.world import World
from waiting import until

_OF_OUTCOME = {
    Outcome.COMPLETE: IndexState.DONE,
    Outcome.UNCHANGED: IndexState.DONE,
    Outcome.FAILED: IndexState.FAILED,
    Outcome.CANCELLED: IndexState.CANCELLED,
}


@dataclass
class Seen:
    """What came over the backfill lane for one job; batches by attempt and number, so that repeats do not count."""

    batches: dict[tuple[int, int], SnapshotBatch] = field(default_factory=dict)
    ends: list[SnapshotEnd] = field(default_factory=list)

    def add(self, part: BackfillMessage) -> None:
        if (batch := batch_of(part)) is not None:
            self.batches[batch.attempt, batch.batch] = batch
        if isinstance(part, SnapshotEnd):
            self.ends.append(part)

    def rows(self, attempt: int | None = None) -> dict[tuple[str, str], tuple[str, Any]]:
        """(collection, rkey) -> (cid, value) of the records in scope, of the last attempt unless another is named."""
        attempt = attempt or max((number for number, _ in self.batches), default=0)
        found: dict[tuple[str, str], tuple[str, Any]] = {}
        for (of, _), batch in sorted(self.batches.items()):
            if of == attempt:
                put = batch.put
                columns = zip(put.collection, put.rkey, put.cid, put.record, strict=True)
                found.update({(c, k): (cid, orjson.loads(text)) for c, k, cid, text in columns})
        return found

    def keys(self) -> set[tuple[str, str]]:
        """Keys sent without content."""
        sent = [batch.keys for batch in self.batches.values()]
        return {pair for keys in sent for pair in zip(keys.collection, keys.rkey, strict=True)}

    def held(self) -> set[tuple[str, str]]:
        """Keys of records sent to refresh rows only."""
        sent = [batch.held for batch in self.batches.values()]
        return {pair for rows in sent for pair in zip(rows.collection, rows.rkey, strict=True)}


class StandIn:
    """Answers for the indexer: states of repos as the test sets them, and an index part for every end."""

    def __init__(self, client: Client, store: JobStore) -> None:
        self._client = client
        self._store = store
        self.states: dict[str, RepoState] = {}
        self.seen: dict[str, Seen] = {}
        self.ending = True
        self.supersede: set[int] = set()

    async def start(self) -> None:
        await self._client.subscribe(REPO_STATES, cb=self._answer)
        await self._client.subscribe(f"{RECORDS_BACKFILL}.*", cb=self._take)
        await round_trip(self._client)

    async def _answer(self, message: Msg) -> None:
        dids = RepoStatesQuery.model_validate_json(message.data).dids
        states = RepoStates(states=[self.states.get(did) or RepoState(did=did) for did in dids])
        await message.respond(states.model_dump_json().encode())

    async def _take(self, message: Msg) -> None:
        part = decode_backfill(message.data)
        self.seen.setdefault(part.job, Seen()).add(part)
        if self.ending and isinstance(part, SnapshotEnd):
            await self.end(part)

    async def end(self, end: SnapshotEnd) -> None:
        state = IndexState.SUPERSEDED if end.attempt in self.supersede else _OF_OUTCOME[end.outcome]
        unchanged = end.outcome is Outcome.UNCHANGED
        part = IndexPart(
            state=state,
            attempt=end.attempt,
            records_written=end.records,
            unchanged=unchanged,
            reason=end.reason,
            detail=end.detail,
            rev=end.rev or None,
            rejected=end.rejected,
            updated_at_us=now_us(),
        )
        await self._store.put_index(end.did, end.job, part)


@dataclass
class Rig:
    """The bus with a stand-in for the indexer on it."""

    url: str
    client: Client
    js: JetStreamContext
    jobs: JobStore
    indexer: StandIn
    numbers: Any = field(default_factory=itertools.count)

    async def ask(self, did: str, *, days: int = 0, lane: RequestLane = RequestLane.USER, **fields: Any) -> str:
        """File a request as the gateway does; the job's id."""
        job_id = f"job{next(self.numbers):04d}"
        now = now_us()
        request = BackfillRequest(
            job_id=job_id,
            did=did,
            lane=lane,
            days=days,
            cutoff_us=fields.pop("cutoff_us", now - days * DAY_US if days else None),
            requested_at_us=now,
            requested_by="operator",
            actor=did,
            **fields,
        )
        await self.js.publish(request_subject(lane, did), request.model_dump_json().encode())
        return job_id

    async def status(self, did: str, job_id: str) -> JobStatus | None:
        return await self.jobs.status(did, job_id)

    async def until(self, did: str, job_id: str, holds: Callable[[JobStatus], bool], seconds: float = 100) -> JobStatus:
        """Poll until the job is as wanted."""
        status = None
        for _ in range(int(seconds / 0.05)):
            try:
                status = await self.status(did, job_id)
            except (nats.errors.Error, OSError):
                status = None  # NATS is away: that may be what is tested
            if status is not None and holds(status):
                return status
            await asyncio.sleep(0.05)
        raise AssertionError(f"job {job_id} is {status}")

    async def final(self, did: str, job_id: str, seconds: float = 100) -> JobStatus:
        return await self.until(did, job_id, lambda job: job.state.final, seconds)

    async def run(self, did: str, **fields: Any) -> JobStatus:
        """File a request and wait for its end."""
        return await self.final(did, await self.ask(did, **fields))

    async def cancel(self, did: str, job_id: str) -> None:
        await self.jobs.put_cancel(did, job_id, CancelPart(requested_at_us=now_us()))

    async def pause(self, paused: bool) -> None:
        control = await self.js.key_value(BUCKET_CONTROL)
        if paused:
            await control.put(PAUSED_KEY, b"{}")
        else:
            await control.delete(PAUSED_KEY)

    async def waiting_requests(self) -> int:
        return (await self.js.stream_info(STREAM_REQUESTS)).state.messages

    async def queue_emptied(self) -> None:
        """Wait until every request has been acknowledged."""
        await until(self._nothing_waits)

    async def _nothing_waits(self) -> bool:
        return await self.waiting_requests() == 0

    def seen(self, job_id: str) -> Seen:
        """What the stand-in has heard. It hears nothing while its connection is lost."""
        return self.indexer.seen.get(job_id, Seen())

    async def end_kept(self, job_id: str) -> Seen:
        """Wait until the stream holds a job's end, and answer it, since the stand-in may not have heard it."""
        for _ in range(1_200):
            with suppress(nats.errors.Error, OSError):  # NATS is away: that may be what is tested
                kept = await self.kept(job_id)
                if kept.ends:
                    await self.indexer.end(kept.ends[-1])
                    return kept
            await asyncio.sleep(0.05)
        raise AssertionError(f"no end of {job_id} in the stream")

    async def kept(self, job_id: str) -> Seen:
        """What the stream holds for a job: the stand-in takes nothing out of it."""
        kept = Seen()
        state = (await self.js.stream_info(STREAM_BACKFILL)).state
        for seq in range(max(1, state.first_seq), state.last_seq + 1):
            part = decode_backfill((await self.js.get_msg(STREAM_BACKFILL, seq)).data or b"")
            if part.job == job_id:
                kept.add(part)
        return kept


@asynccontextmanager
async def rig(url: str) -> AsyncIterator[Rig]:
    async with bus_client(url) as client:
        js = client.jetstream(timeout=60)
        await apply_topology(js)
        jobs = JobStore(await js.key_value(BUCKET_JOBS))
        indexer = StandIn(client, jobs)
        await indexer.start()
        yield Rig(url, client, js, jobs, indexer)


@pytest.fixture
async def backfill_bus(nats_url: str) -> AsyncIterator[Rig]:
    async with rig(nats_url) as made:
        yield made


@pytest.fixture
async def world_of_two_hosts() -> AsyncIterator[World]:
    async with World(seed=7, now_us=now_us(), hosts=2) as made:
        yield made


def settings_for(url: str, plc_url: str, home: Path, **fields: Any) -> RepoBackfillSettings:
    """Settings of a worker on the simulated network."""
    return RepoBackfillSettings(
        _env_file=None, nats_url=url, plc_url=plc_url, headwater_home=home, allow_private_hosts=True, **fields
    )


@asynccontextmanager
async def running(settings: RepoBackfillSettings) -> AsyncIterator[Intake]:
    """A worker of the service in this process. An error in one of its tasks fails the test."""
    tasks = Tasks()
    async with bus_client(settings.nats_url) as client:
        async with worker(settings, client, Readiness("nats"), tasks) as intake:
            yield intake
        assert not tasks.failed


__all__ = [
    "JobState",
    "Rig",
    "Seen",
    "StandIn",
    "backfill_bus",
    "rig",
    "running",
    "settings_for",
    "world_of_two_hosts",
]
