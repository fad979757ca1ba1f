"""A job's fetch part in the ``jobs`` bucket: who may write it, and how often.

A worker that stalls can find that its request was redelivered to another one. So every write names the revision it
follows: an attempt is claimed by whoever writes it first, and whoever is overtaken notices at his next write.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats.errors
from nats.js.errors import APIError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from pydantic import ValidationError

from headwater.backoff import backoff_seconds
from headwater.bus.jobs import FetchPart, job_key
from headwater.cancelling import cancel_and_wait
from headwater.clock import now_us
from headwater.errors import InvariantError

WRITE_SECONDS = 0.25
_RETRY_CAP = 2.0


class OvertakenError(Exception):
    """Another worker has this job now: nothing more may be written, published or acknowledged for it."""


class Progress:
    """The fetch part of one job, as this worker writes it."""

    def __init__(self, bucket: KeyValue, did: str, job_id: str) -> None:
        self._bucket = bucket
        self._key = job_key(did, job_id, "fetch")
        self._revision = 0
        self._due_at = 0.0
        self._lock = asyncio.Lock()
        self._noted: dict[str, Any] = {}
        self.part: FetchPart | None = None

    async def read(self) -> FetchPart | None:
        """What the last worker wrote; None at a job's beginning. Waits for a bus that is away."""
        tries = 0
        while True:
            try:
                entry = await self._bucket.get(self._key)
            except KeyNotFoundError:
                self._revision, self.part = 0, None
                return None
            except (nats.errors.Error, OSError):
                tries += 1
                await asyncio.sleep(backoff_seconds(tries, base=0.1, cap=_RETRY_CAP))
                continue
            self._revision = entry.revision or 0
            self.part = _parse(entry.value, self._key)
            return self.part

    def note(self, **changes: Any) -> None:
        """Change these fields in the next write."""
        self._noted.update(changes)

    async def report(self, **changes: Any) -> None:
        """Write figures that changed, or only note them where a write is not due yet. Raises OvertakenError."""
        self.note(**changes)
        if time.monotonic() >= self._due_at:
            await self.write()

    @asynccontextmanager
    async def told_soon(self) -> AsyncIterator[None]:
        """Within the context, what was noted before is written soon and not at once: most is over by then."""
        self._due_at = time.monotonic() + WRITE_SECONDS
        late = asyncio.create_task(self._write_late())
        try:
            yield
        finally:
            await cancel_and_wait([late])

    async def _write_late(self) -> None:
        await asyncio.sleep(WRITE_SECONDS)
        if self._noted:
            await self.write()

    async def write(self, **changes: Any) -> FetchPart:
        """Write the part with what was noted and these fields changed, at once. Raises OvertakenError."""
        async with self._lock:
            before = self.part
            fields = {} if before is None else before.model_dump()
            part = FetchPart.model_validate({**fields, **self._noted, **changes, "updated_at_us": now_us()})
            self._noted.clear()
            await self._put(part)
            self.part = part
            self._due_at = time.monotonic() + WRITE_SECONDS
            return part

    async def _put(self, part: FetchPart) -> None:
        payload = part.model_dump_json().encode()
        tries = 0
        while True:
            try:
                self._revision = await self._bucket.update(self._key, payload, last=self._revision)
            except KeyWrongLastSequenceError:
                await self._check_ours(part.attempt, payload)
                if self.part == part:
                    return
            except (nats.errors.Error, OSError) as error:
                if isinstance(error, APIError) and error.code is not None and error.code < 500:
                    raise InvariantError(f"{self._key} refused: {error}") from error
                tries += 1
                await asyncio.sleep(backoff_seconds(tries, base=0.1, cap=_RETRY_CAP))
            else:
                return

    async def _check_ours(self, attempt: int, payload: bytes) -> None:
        """After a conflict: either our own write came through though its acknowledgement did not, or we are late."""
        ours = self.part
        there = await self.read()
        if there is None:
            raise OvertakenError(self._key)
        if there.model_dump_json().encode() == payload:
            return
        # Nobody but this worker writes at an attempt that it has claimed.
        if ours is None or ours.attempt != attempt or there.attempt != attempt:
            raise OvertakenError(self._key)


def _parse(value: bytes | None, key: str) -> FetchPart:
    try:
        return FetchPart.model_validate_json(value or b"")
    except ValidationError as error:
        raise InvariantError(f"malformed FetchPart at {key}: {error.error_count()} errors") from error
