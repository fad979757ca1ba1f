"""Where every job of the last 30 days stands, kept in memory and brought up to date by what has changed since.

A crawl makes very many jobs, so neither a list nor a count may read all of them. Whoever asks makes the index read
what came into the ``jobs`` bucket since the last time; a job itself is read only to be shown. Nothing runs while
nobody looks, and nothing is missed: the bucket's stream numbers its messages, and the index goes on after the last.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import time
from collections import Counter
from functools import cache
from typing import Any, Final

import nats.errors
import orjson
from nats.aio.msg import Msg

from api_gateway.bus import Bus
from headwater.bus.buckets import is_deletion
from headwater.bus.jobs import (
    FetchPart,
    FetchState,
    IndexPart,
    IndexState,
    JobState,
    JobStatus,
    state_of,
)
from headwater.bus.stored import stored
from headwater.bus.streams import BUCKET_JOBS
from headwater.errors import InvariantError

MAX_JOBS: Final = 200_000
"""So many jobs are known, the newest: beyond, the oldest are neither listed nor counted. Some 300 bytes each."""
_STREAM: Final = f"KV_{BUCKET_JOBS}"
_PREFIX: Final = f"$KV.{BUCKET_JOBS}."
_TRIM_AT: Final = 1.1
_AT_ONCE: Final = 5_000
_GHOST_SECONDS: Final = 30.0
_KEYS_SECONDS: Final = 10.0


class _Known:
    """What is remembered of a job. ``parts`` are those of which the bucket holds one."""

    __slots__ = ("did", "fetch", "index", "parts", "state")

    def __init__(self) -> None:
        self.did: str | None = None
        self.parts: frozenset[str] = frozenset()
        self.fetch: FetchPart | None = None
        self.index: IndexPart | None = None
        self.state = JobState.QUEUED


class JobIndex:
    """The jobs by id. All methods raise nats errors, Problem 503, and InvariantError for a malformed part."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._jobs: dict[str, _Known] = {}
        self._seen = 0
        self._looked_for_ghosts = float("-inf")
        self._turn = asyncio.Lock()

    async def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state."""
        await self._refresh()
        return dict(Counter(job.state for job in self._jobs.values() if job.did is not None))

    async def page(
        self, *, state: JobState | None = None, before: str | None = None, limit: int = 100
    ) -> tuple[list[JobStatus], str | None]:
        """The next ``limit`` jobs, newest first, after job ``before``; and the id to go on from, None at the end."""
        await self._refresh()
        ids = heapq.nlargest(
            limit + 1,
            (
                job_id
                for job_id, job in self._jobs.items()
                if job.did is not None and (state is None or job.state is state) and (before is None or job_id < before)
            ),
        )
        named = [(did, job_id) for job_id in ids[:limit] if (did := self._jobs[job_id].did) is not None]
        found = await self._bus.jobs.read_many(named)
        found.sort(key=lambda job: job.job_id, reverse=True)
        return found, ids[limit - 1] if len(ids) > limit else None

    async def _refresh(self) -> None:
        async with self._turn:
            state = (await self._bus.js.stream_info(_STREAM)).state
            if state.last_seq < self._seen:  # the bucket was made anew
                self._jobs.clear()
                self._seen = 0
            if state.last_seq > self._seen:
                while await self._read_on() == _AT_ONCE:
                    pass
            if state.messages != sum(len(job.parts) for job in self._jobs.values()):
                await self._bury_ghosts()

    async def _read_on(self) -> int:
        messages = await stored(self._bus.js, _STREAM, f"{_PREFIX}>", first=self._seen + 1, most=_AT_ONCE)
        for msg in messages:
            self._take(msg)
        if messages:
            self._seen = messages[-1].metadata.sequence.stream
        if len(self._jobs) > MAX_JOBS * _TRIM_AT:
            newest = heapq.nlargest(MAX_JOBS, self._jobs)
            self._jobs = {job_id: self._jobs[job_id] for job_id in newest}
        return len(messages)

    def _take(self, msg: Msg) -> None:
        _, job_id, part = msg.subject.removeprefix(_PREFIX).rsplit(".", 2)
        if is_deletion(msg):
            self._jobs.pop(job_id, None)
            return
        job = self._jobs.setdefault(job_id, _Known())
        job.parts = _with(job.parts, part)
        try:
            self._learn(job, part, orjson.loads(msg.data))
        except (ValueError, KeyError, TypeError) as error:
            raise InvariantError(f"malformed part at {msg.subject}: {error!r}") from error
        job.state = state_of("cancel" in job.parts, job.fetch, job.index)

    @staticmethod
    def _learn(job: _Known, part: str, said: dict[str, Any]) -> None:
        """Take from a part what is remembered: reading it whole would take ten times as long."""
        if part == "request":
            job.did = said["did"]
        elif part == "fetch":
            job.fetch = _fetch_part(FetchState(said["state"]), said.get("attempt", 1))
        elif part == "index":
            job.index = _index_part(IndexState(said["state"]), said.get("attempt", 1))

    async def _bury_ghosts(self) -> None:
        """Forget the parts that are gone without a word: expired, or done jobs of the system's own.

        Now and then only: while a crawl runs, some job has always just gone.
        """
        now = time.monotonic()
        if now - self._looked_for_ghosts < _GHOST_SECONDS:
            return
        self._looked_for_ghosts = now
        alive: dict[str, set[str]] = {}
        for key in await self._keys():
            _, job_id, part = key.rsplit(".", 2)
            alive.setdefault(job_id, set()).add(part)
        for job_id, job in list(self._jobs.items()):
            parts = alive.get(job_id)
            if parts is None:
                del self._jobs[job_id]
            else:
                job.parts &= parts

    async def _keys(self) -> list[str]:
        """Every key of the bucket, without its value."""
        keys: list[str] = []
        while True:
            question = json.dumps({"subjects_filter": f"{_PREFIX}>", "offset": len(keys)}).encode()
            answer = await self._bus.client.request(f"$JS.API.STREAM.INFO.{_STREAM}", question, timeout=_KEYS_SECONDS)
            told: dict[str, Any] = orjson.loads(answer.data)
            if "error" in told:
                raise nats.errors.Error(f"the keys of the jobs are not told: {told['error'].get('description')}")
            subjects = told["state"].get("subjects") or {}
            keys += (subject.removeprefix(_PREFIX) for subject in subjects)
            if not subjects or len(keys) >= told.get("total", 0):
                return keys


@cache
def _with(parts: frozenset[str], part: str) -> frozenset[str]:
    return parts | {part}


@cache
def _fetch_part(state: FetchState, attempt: int) -> FetchPart:
    return FetchPart(state=state, attempt=attempt)


@cache
def _index_part(state: IndexState, attempt: int) -> IndexPart:
    return IndexPart(state=state, attempt=attempt)
