"""Reading and writing jobs' parts in the ``jobs`` bucket."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue
from pydantic import BaseModel, ValidationError

from headwater.bus.buckets import entries
from headwater.bus.jobs import BackfillRequest, CancelPart, FetchPart, IndexPart, JobStatus, fold, job_key
from headwater.bus.last_values import last_values
from headwater.bus.subjects import did_token
from headwater.errors import InvariantError

PartName = Literal["request", "cancel", "fetch", "index"]
P = TypeVar("P", bound=BaseModel)
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Heard:
    """Whether a job's request is there, whether somebody asked it to stop, and the indexer's side."""

    requested: bool
    cancelled: bool
    index: IndexPart | None


class JobStore:
    """Jobs on the bus. Each part has one writer (see ``headwater.bus.jobs``); everybody may read.

    All methods raise nats errors when the bus is gone, and InvariantError when a part of ours is malformed.
    """

    def __init__(self, bucket: KeyValue) -> None:
        self._bucket = bucket

    async def put_request(self, part: BackfillRequest) -> None:
        """Written by the gateway when it has accepted a request."""
        await self._put(part.did, part.job_id, "request", part)

    async def put_cancel(self, did: str, job_id: str, part: CancelPart) -> None:
        """Written by the gateway when somebody cancels."""
        await self._put(did, job_id, "cancel", part)

    async def put_fetch(self, did: str, job_id: str, part: FetchPart) -> None:
        """Written by repo-backfill."""
        await self._put(did, job_id, "fetch", part)

    async def put_index(self, did: str, job_id: str, part: IndexPart) -> None:
        """Written by the indexer."""
        await self._put(did, job_id, "index", part)

    async def request(self, did: str, job_id: str) -> BackfillRequest | None:
        """What was asked for."""
        return await self._get(did, job_id, "request", BackfillRequest)

    async def cancel(self, did: str, job_id: str) -> CancelPart | None:
        """Whether somebody asked for the job to stop."""
        return await self._get(did, job_id, "cancel", CancelPart)

    async def fetch(self, did: str, job_id: str) -> FetchPart | None:
        """repo-backfill's side."""
        return await self._get(did, job_id, "fetch", FetchPart)

    async def index(self, did: str, job_id: str) -> IndexPart | None:
        """The indexer's side."""
        return await self._get(did, job_id, "index", IndexPart)

    async def heard(self, jobs: Collection[tuple[str, str]], *parts: PartName) -> dict[str, Heard]:
        """What others have written of these jobs (account and id), by job id, as far as these parts tell."""
        keys = {job_key(did, job_id, part): (job_id, part) for did, job_id in jobs for part in parts}
        found: dict[str, dict[str, bytes]] = {job_id: {} for _, job_id in jobs}
        for key, value in (await last_values(self._bucket, keys)).items():
            job_id, part = keys[key]
            found[job_id][part] = value
        return {
            job_id: Heard(
                requested="request" in of_job,
                cancelled="cancel" in of_job,
                index=_parse(IndexPart, of_job["index"], job_id) if "index" in of_job else None,
            )
            for job_id, of_job in found.items()
        }

    async def status(self, did: str, job_id: str) -> JobStatus | None:
        """A job as people see it; None when the account has no such job."""
        request = await self.request(did, job_id)
        if request is None:
            return None
        return fold(
            request, await self.cancel(did, job_id), await self.fetch(did, job_id), await self.index(did, job_id)
        )

    async def jobs_of(self, did: str) -> list[JobStatus]:
        """An account's jobs, newest first."""
        return await self._collect(f"{did_token(did)}.>")

    async def find(self, job_id: str) -> JobStatus | None:
        """A job by its id alone, for operators."""
        found = await self._collect(f"*.{job_id}.*")
        return found[0] if found else None

    async def read_many(self, named: Sequence[tuple[str, str]]) -> list[JobStatus]:
        """These jobs (account and id), newest first; those that are gone are left out."""
        found: list[JobStatus] = []
        for start in range(0, len(named), _AT_ONCE):
            found += await self._collect(*(f"{did_token(did)}.{job_id}.*" for did, job_id in named[start:][:_AT_ONCE]))
        return found

    async def all_jobs(self) -> list[JobStatus]:
        """Every job of the last 30 days, newest first. Reads all of them: for the end of a crawl, not for a view."""
        return await self._collect(">")

    async def forget(self, did: str, job_id: str) -> None:
        """Drop all parts of a job, without the markers that deleting keys would leave. By repo-backfill alone."""
        bucket = self._bucket
        subject = f"{bucket._pre}{did_token(did)}.{job_id}.>"  # noqa: SLF001
        await bucket._js.purge_stream(bucket._stream, subject=subject)  # noqa: SLF001

    async def _put(self, did: str, job_id: str, name: PartName, part: BaseModel) -> None:
        await self._bucket.put(job_key(did, job_id, name), part.model_dump_json().encode())

    async def _get(self, did: str, job_id: str, name: PartName, kind: type[P]) -> P | None:
        try:
            entry = await self._bucket.get(job_key(did, job_id, name))
        except KeyNotFoundError:
            return None
        return _parse(kind, entry.value, job_key(did, job_id, name))

    async def _collect(self, *patterns: str) -> list[JobStatus]:
        parts: dict[str, dict[str, bytes]] = defaultdict(dict)
        for key, value in await entries(self._bucket, *patterns):
            prefix, _, name = key.rpartition(".")
            parts[prefix][name] = value
        folded = [_fold(prefix, of_job) for prefix, of_job in parts.items() if "request" in of_job]
        return sorted(folded, key=lambda job: (job.requested_at_us, job.job_id), reverse=True)


def _fold(prefix: str, parts: dict[str, bytes]) -> JobStatus:
    return fold(
        _parse(BackfillRequest, parts["request"], prefix),
        _parse(CancelPart, parts["cancel"], prefix) if "cancel" in parts else None,
        _parse(FetchPart, parts["fetch"], prefix) if "fetch" in parts else None,
        _parse(IndexPart, parts["index"], prefix) if "index" in parts else None,
    )


def _parse(kind: type[P], value: bytes | None, key: str) -> P:
    try:
        return kind.model_validate_json(value or b"")
    except ValidationError as error:
        raise InvariantError(f"malformed {kind.__name__} at {key}: {error.error_count()} errors") from error
