"""Telling on the bus what is committed of each job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import nats.errors

from headwater.bus.job_store import JobStore
from headwater.errors import TransientError
from indexer.state import Job

_SECONDS_BETWEEN = 0.25


class Progress:
    """Writes the index parts: every decision, and in between about four times a second.

    Most jobs are of small repos and decided within a moment; only of one that takes longer is anything told before.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._told: dict[str, float] = {}

    async def tell(self, jobs: Iterable[Job]) -> None:
        """Tell what was committed. Raises TransientError when the bus is away."""
        try:
            await asyncio.gather(*(self._store.put_index(job.did, job.job_id, job.part()) for job in self._due(jobs)))
        except (nats.errors.Error, OSError) as error:
            raise TransientError(f"progress was not told: {error}") from error

    def _due(self, jobs: Iterable[Job]) -> list[Job]:
        now = time.monotonic()
        due = []
        for job in jobs:
            if job.state != "indexing":
                self._told.pop(job.job_id, None)
            elif now - self._told.setdefault(job.job_id, now) < _SECONDS_BETWEEN:
                continue
            else:
                self._told[job.job_id] = now
            due.append(job)
        return due
