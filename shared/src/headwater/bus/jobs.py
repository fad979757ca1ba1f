"""A job: one account's backfill, as it stands on the bus and as people see it.

Its state lies in the ``jobs`` bucket in parts, each written by one service alone, so that no write is ever lost to
another's: ``<did token>.<job id>.request`` and ``.cancel`` by the gateway, ``.fetch`` by repo-backfill, ``.index``
by the indexer. ``fold`` makes of the parts what people see. The request itself waits in the REQUESTS stream.
"""

from __future__ import annotations

import secrets
from enum import StrEnum
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from headwater.bus.subjects import RequestLane, did_token
from headwater.clock import DAY_US
from headwater.errors import Reason

MAX_DAYS: Final = 3650
"""Of history that may be asked for, but for all of it."""
MAX_COLLECTIONS: Final = 100
"""A job says of so many collections how many records it has brought; an account may have invented thousands."""


class JobState(StrEnum):
    """Where a job is. Done, failed and cancelled are final."""

    QUEUED = "queued"
    RESOLVING = "resolving"
    FETCHING = "fetching"
    INDEXING = "indexing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing will change any more."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class BackfillRequest(_Part):
    """What waits in REQUESTS: fetch this account's repo. ``cutoff_us`` was fixed at acceptance; None is all time.

    ``car_object`` names a CAR in the ``imports`` object store that is to be read instead of the account's PDS, and
    ``did_key`` the key to verify it against instead of the resolved one. ``anew``: although the table may hold the
    repo's newest rev, since something of it could not be used then.
    """

    job_id: str
    did: str
    lane: RequestLane = RequestLane.USER
    days: int = Field(ge=0, le=MAX_DAYS)
    cutoff_us: int | None
    requested_at_us: int
    requested_by: Literal["user", "operator", "system"]
    actor: str
    car_object: str | None = None
    did_key: str | None = None
    anew: bool = False


class CancelPart(_Part):
    """Somebody asked for the job to stop."""

    requested_at_us: int


class FetchState(StrEnum):
    """repo-backfill's side of a job."""

    RESOLVING = "resolving"
    FETCHING = "fetching"
    PUBLISHED = "published"
    WAITING = "waiting"
    FAILED = "failed"
    CANCELLED = "cancelled"


class FetchPart(_Part):
    """What repo-backfill has done of a job. Sizes in bytes, times in microseconds since 1970.

    ``attempt`` numbers every run of the job that published or might have; ``tries`` counts those that failed.
    ``collections``: records in scope of the largest ``MAX_COLLECTIONS``, at the end of an attempt.
    ``asked_at_us``: when the account's host was asked last: what was said since then is newer than its answer.
    """

    state: FetchState
    attempt: int = 1
    tries: int = 0
    handle: str | None = None
    pds: str | None = None
    rev: str | None = None
    bytes_fetched: int = 0
    bytes_total: int | None = None
    records_published: int = 0
    records_total: int | None = None
    rejected: dict[str, int] = {}
    collections: dict[str, int] = {}
    reason: Reason | None = None
    detail: str | None = None
    next_try_at_us: int | None = None
    started_at_us: int | None = None
    asked_at_us: int | None = None
    updated_at_us: int = 0


class IndexState(StrEnum):
    """The indexer's side of a job attempt. ``superseded``: a newer snapshot was there first; fetch again."""

    INDEXING = "indexing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


class IndexPart(_Part):
    """What the indexer has committed of a job's attempt. ``rev`` and ``rejected`` come with its end."""

    state: IndexState
    attempt: int = 1
    records_written: int = 0
    records_deleted: int = 0
    unchanged: bool = False
    reason: Reason | None = None
    detail: str | None = None
    rev: str | None = None
    rejected: dict[str, int] = {}
    updated_at_us: int = 0


class JobStatus(BaseModel):
    """A job as people and scripts see it. Times in microseconds since 1970, sizes in bytes.

    ``collections``: what the job has brought, by collection, where it is done; the largest ``MAX_COLLECTIONS``.
    """

    job_id: str
    did: str
    actor: str
    handle: str | None
    lane: RequestLane
    days: int
    requested_by: str
    state: JobState
    attempt: int
    cancel_requested: bool
    requested_at_us: int
    started_at_us: int | None
    updated_at_us: int
    finished_at_us: int | None
    pds: str | None
    rev: str | None
    bytes_fetched: int
    bytes_total: int | None
    records_published: int
    records_total: int | None
    records_written: int
    records_deleted: int
    unchanged: bool
    rejected: dict[str, int]
    collections: dict[str, int] = {}
    reason: Reason | None
    detail: str | None
    next_try_at_us: int | None


def system_request(
    lane: RequestLane, did: str, cutoff_us: int | None, now_us: int, since_us: int | None = None
) -> BackfillRequest:
    """A request for a repo as the system makes it; its days count back from ``since_us``, or from now.

    Times in microseconds since 1970.
    """
    since = now_us if since_us is None else since_us
    days = 0 if cutoff_us is None else min(MAX_DAYS, max(1, -((cutoff_us - since) // DAY_US)))
    return BackfillRequest(
        job_id=new_job_id(now_us),
        did=did,
        lane=lane,
        days=days,
        cutoff_us=cutoff_us,
        requested_at_us=now_us,
        requested_by="system",
        actor=did,
    )


def new_job_id(now_us: int) -> str:
    """A job's id: 26 hexadecimal digits that sort by time (microseconds since 1970, then chance)."""
    return f"{first_job_id(now_us)}{secrets.token_hex(6)}"


def first_job_id(at_us: int) -> str:
    """What the ids of jobs of this moment (microseconds since 1970) begin with; all from before sort before it."""
    return f"{at_us:014x}"


def job_key(did: str, job_id: str, part: Literal["request", "cancel", "fetch", "index"]) -> str:
    """The key of one part of a job in the ``jobs`` bucket."""
    return f"{did_token(did)}.{job_id}.{part}"


def fold(
    request: BackfillRequest, cancel: CancelPart | None, fetch: FetchPart | None, index: IndexPart | None
) -> JobStatus:
    """A job as people see it, of its parts.

    The indexer's word is final for what it has ended; of an older attempt than repo-backfill's it does not count,
    as that attempt was given up. Unless it was done: then what a worker has begun anew says nothing of the job.
    """
    if _is_outdated(index, fetch):
        index = None
    state = state_of(cancel is not None, fetch, index)
    updated_at_us = _updated_at_us(request, cancel, fetch, index)
    brought = index if index is not None and index.state is IndexState.DONE else fetch
    ended = index if index is not None and state is not JobState.INDEXING and index.reason else fetch
    waits = fetch is not None and fetch.state is FetchState.WAITING
    return JobStatus(
        job_id=request.job_id,
        did=request.did,
        actor=request.actor,
        handle=fetch.handle if fetch else None,
        lane=request.lane,
        days=request.days,
        requested_by=request.requested_by,
        state=state,
        attempt=fetch.attempt if fetch else 0,
        cancel_requested=cancel is not None,
        requested_at_us=request.requested_at_us,
        started_at_us=fetch.started_at_us if fetch else None,
        updated_at_us=updated_at_us,
        finished_at_us=updated_at_us if state.final else None,
        pds=fetch.pds if fetch else None,
        rev=brought.rev if brought else None,
        bytes_fetched=fetch.bytes_fetched if fetch else 0,
        bytes_total=fetch.bytes_total if fetch else None,
        records_published=fetch.records_published if fetch else 0,
        records_total=fetch.records_total if fetch else None,
        records_written=index.records_written if index else 0,
        records_deleted=index.records_deleted if index else 0,
        unchanged=index.unchanged if index else False,
        rejected=brought.rejected if brought else {},
        collections=fetch.collections if fetch and state is JobState.DONE else {},
        reason=ended.reason if ended and (state is JobState.FAILED or waits) else None,
        detail=ended.detail if ended and (state is JobState.FAILED or waits) else None,
        next_try_at_us=fetch.next_try_at_us if fetch and waits else None,
    )


_OF_INDEX = {
    IndexState.DONE: JobState.DONE,
    IndexState.FAILED: JobState.FAILED,
    IndexState.CANCELLED: JobState.CANCELLED,
}
_OF_FETCH = {
    FetchState.RESOLVING: JobState.RESOLVING,
    FetchState.FETCHING: JobState.FETCHING,
    FetchState.PUBLISHED: JobState.INDEXING,
    FetchState.WAITING: JobState.QUEUED,
    FetchState.FAILED: JobState.FAILED,
    FetchState.CANCELLED: JobState.CANCELLED,
}


_GIVEN_UP = (FetchState.FAILED, FetchState.CANCELLED)


def _updated_at_us(
    request: BackfillRequest, cancel: CancelPart | None, fetch: FetchPart | None, index: IndexPart | None
) -> int:
    """When the job ended, or else changed. What is written after the end, by a worker that has not heard of it yet,
    changes nothing that people see."""
    ends = [index.updated_at_us] if index is not None and index.state in _OF_INDEX else []
    ends += [fetch.updated_at_us] if fetch is not None and fetch.state in _GIVEN_UP else []
    if ends:
        return max(request.requested_at_us, min(ends))
    updated = [part.updated_at_us for part in (fetch, index) if part is not None]
    asked = [request.requested_at_us] if cancel is None else [request.requested_at_us, cancel.requested_at_us]
    return max(asked + updated)


def _is_outdated(index: IndexPart | None, fetch: FetchPart | None) -> bool:
    if index is None or fetch is None or index.state is IndexState.DONE:
        return False
    return index.attempt < fetch.attempt


def state_of(cancelled: bool, fetch: FetchPart | None, index: IndexPart | None) -> JobState:
    """Where a job is, by its parts; ``cancelled``: somebody asked for it to stop."""
    if index is not None and index.state in _OF_INDEX and not _is_outdated(index, fetch):
        return _OF_INDEX[index.state]
    if fetch is None:
        return JobState.CANCELLED if cancelled else JobState.QUEUED
    return _OF_FETCH[fetch.state]
