"""What a running job must hear: that it was cancelled, and what the indexer made of it.

Both are written to the ``jobs`` bucket by others. A plain subscription to the bucket's subjects hears of them at
once; since such messages can be lost, the bucket is read every few seconds too. KV watches are not used: their
consumers are gone when NATS restarts.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import ValidationError

from headwater.bus.job_store import JobStore, PartName
from headwater.bus.jobs import CancelPart, IndexPart, IndexState
from headwater.bus.streams import BUCKET_JOBS

log = logging.getLogger("repo_backfill.signals")

_SUBJECTS = f"$KV.{BUCKET_JOBS}.*.*"
_READ_SECONDS = 2.0
_FINAL = (IndexState.DONE, IndexState.FAILED, IndexState.CANCELLED)


class JobSignals:
    """What has been heard of one job. ``requested``: the bucket has its request."""

    def __init__(self, did: str, job_id: str) -> None:
        self.did = did
        self.job_id = job_id
        self.requested = False
        self.cancelled = False
        self.index: IndexPart | None = None
        self._heard = asyncio.Condition()

    @property
    def ended(self) -> bool:
        """Whether the indexer has ended the job, whichever attempt it was."""
        return self.index is not None and self.index.state in _FINAL

    def ended_of(self, attempt: int) -> bool:
        """Whether the indexer has ended the job with this attempt."""
        return self.ended and self.index is not None and self.index.attempt == attempt

    def superseded(self, attempt: int) -> bool:
        """Whether the indexer found a newer snapshot than this attempt's."""
        index = self.index
        return index is not None and index.state is IndexState.SUPERSEDED and index.attempt >= attempt

    async def stop_asked(self) -> None:
        """Wait until the job is cancelled or ended."""
        async with self._heard:
            await self._heard.wait_for(lambda: self.cancelled or self.ended)

    async def outcome(self, attempt: int) -> IndexPart:
        """Wait for the indexer's last word on the job, or on this attempt."""
        async with self._heard:
            await self._heard.wait_for(lambda: self.ended or self.superseded(attempt))
        assert self.index is not None
        return self.index

    async def hear(self, cancel: bool, index: IndexPart | None) -> None:
        """Take in what was read or heard."""
        async with self._heard:
            self.cancelled = self.cancelled or cancel
            if index is not None and (self.index is None or index.updated_at_us >= self.index.updated_at_us):
                self.index = index
            self._heard.notify_all()


class Switchboard:
    """Tells the jobs that this worker holds what the bucket says of them.

    A worker can hold one job twice: its request comes again while the bus is away longer than the ack wait.
    """

    def __init__(self, client: Client, store: JobStore) -> None:
        self._client = client
        self._store = store
        self._jobs: defaultdict[str, list[JobSignals]] = defaultdict(list)
        self._beginning: list[JobSignals] = []
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def signals(self, did: str, job_id: str) -> AsyncIterator[JobSignals]:
        """What is known of a job now, kept up to date within the context. Raises nats errors when the bus is away."""
        signals = JobSignals(did, job_id)
        self._jobs[job_id].append(signals)
        try:
            await self._read_with_others(signals)
            yield signals
        finally:
            self._jobs[job_id].remove(signals)
            if not self._jobs[job_id]:
                del self._jobs[job_id]

    async def run(self) -> None:
        """Listen, and read every few seconds, until cancelled."""
        for part in ("cancel", "index"):
            await self._client.subscribe(f"{_SUBJECTS}.{part}", cb=self._heard)
        while True:
            try:
                await self._read(list(chain.from_iterable(self._jobs.values())), "cancel", "index")
            except (nats.errors.Error, OSError) as error:
                log.debug("cannot read signals: %s", error)
            await asyncio.sleep(_READ_SECONDS)

    async def _read_with_others(self, signals: JobSignals) -> None:
        """One question is under way at a time; jobs that begin meanwhile share the next."""
        self._beginning.append(signals)
        try:
            async with self._turn:
                while signals in self._beginning:
                    together = list(self._beginning)
                    await self._read(together, "request", "cancel", "index")
                    self._beginning = [other for other in self._beginning if other not in together]
        finally:
            if signals in self._beginning:
                self._beginning.remove(signals)

    async def _read(self, listening: Sequence[JobSignals], *parts: PartName) -> None:
        told = await self._store.heard([(signals.did, signals.job_id) for signals in listening], *parts)
        for signals in listening:
            heard = told[signals.job_id]
            signals.requested = signals.requested or heard.requested
            await signals.hear(heard.cancelled, heard.index)

    async def _heard(self, message: Msg) -> None:
        _, _, _, job_id, part = message.subject.split(".")
        if job_id not in self._jobs or not message.data:
            return
        cancel, index = False, None
        try:
            if part == "cancel":
                CancelPart.model_validate_json(message.data)
                cancel = True
            else:
                index = IndexPart.model_validate_json(message.data)
        except ValidationError:
            log.debug("malformed %s part of job %s: the next reading raises InvariantError", part, job_id)
            return
        for signals in list(self._jobs[job_id]):
            await signals.hear(cancel, index)
