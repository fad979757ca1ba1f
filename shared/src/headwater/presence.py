"""Which workers live: each says so every two seconds in the ``workers`` bucket, whose entries expire after ten."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from importlib.metadata import version
from typing import Self

import nats.errors
import nats.js.errors
from nats.js.kv import KeyValue
from pydantic import BaseModel, ConfigDict

from headwater.bus.buckets import entries
from headwater.cancelling import cancel_and_wait
from headwater.clock import now_us
from headwater.health import Readiness

log = logging.getLogger("headwater.presence")
HEARTBEAT_SECONDS = 2.0
VERSION = version("headwater-shared")


class WorkerPresence(BaseModel):
    """One worker's last word. ``figures`` are numbers for people: rates per second, counts, bytes in flight."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    service: str
    worker_id: int
    worker_count: int
    pid: int
    host: str
    version: str = ""
    ready: bool
    conditions: dict[str, str] = {}
    figures: dict[str, float] = {}
    started_at_us: int
    seen_at_us: int


class Presence:
    """Says that this worker lives, until it is stopped."""

    def __init__(
        self,
        bucket: KeyValue,
        service: str,
        worker_id: int,
        worker_count: int,
        readiness: Readiness,
        figures: Callable[[], dict[str, float]] = dict,
    ) -> None:
        self._bucket = bucket
        self._service = service
        self._worker_id = worker_id
        self._worker_count = worker_count
        self._readiness = readiness
        self._figures = figures
        self._started = now_us()

    async def run(self) -> None:
        """Heartbeat until cancelled; a bus that is away is waited for."""
        while True:
            try:
                await self._bucket.put(f"{self._service}.{self._worker_id}", self._word().model_dump_json().encode())
            except (nats.errors.Error, nats.js.errors.Error, OSError) as error:
                log.debug("no heartbeat: %s", error)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def _word(self) -> WorkerPresence:
        return WorkerPresence(
            service=self._service,
            worker_id=self._worker_id,
            worker_count=self._worker_count,
            pid=os.getpid(),
            host=socket.gethostname(),
            version=VERSION,
            ready=self._readiness.ready,
            conditions=self._readiness.conditions,
            figures=self._figures(),
            started_at_us=self._started,
            seen_at_us=now_us(),
        )

    async def farewell(self) -> None:
        """Say that this worker is gone, on an orderly stop."""
        await self._bucket.delete(f"{self._service}.{self._worker_id}")

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run(), name="presence")
        return self

    async def __aexit__(self, *exc: object) -> None:
        await cancel_and_wait([self._task])
        try:
            await self.farewell()
        except (nats.errors.Error, nats.js.errors.Error, OSError) as error:
            log.debug("no farewell: %s", error)


async def living_workers(bucket: KeyValue) -> list[WorkerPresence]:
    """Every worker heard of in the last ten seconds, by service and id."""
    found = [WorkerPresence.model_validate_json(value) for _, value in await entries(bucket, ">")]
    return sorted(found, key=lambda worker: (worker.service, worker.worker_id))
