"""Jobs as users and operators see them, whole also in the moment after acceptance.

A request is a message before it is a part in the bucket (see ``api_gateway.acceptance``). Between the two, or where
the gateway died there, the job is read from the message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from api_gateway.bus import Bus
from api_gateway.queue import waiting
from headwater.bus.jobs import BackfillRequest, JobState, JobStatus, fold
from headwater.bus.subjects import RequestLane

_JOB_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_job_id(text: str) -> bool:
    """Whether the text can be a job's id: it becomes a token of keys and patterns, so nothing else may get there."""
    return _JOB_ID.fullmatch(text) is not None


async def find_request(bus: Bus, did: str, job_id: str) -> BackfillRequest | None:
    """What was asked for by this job of this account; None when there is none. Raises nats errors.

    Where only the message is there, its part is put into the bucket, to be found when the message is gone.
    """
    if not is_job_id(job_id):
        return None
    known = await bus.jobs.request(did, job_id)
    if known is not None:
        return known
    found = await waiting(bus, RequestLane.USER, did)
    if found is None or found.request.job_id != job_id:
        return None
    await bus.jobs.put_request(found.request)
    return found.request


async def status_of(bus: Bus, did: str, job_id: str) -> JobStatus | None:
    """One job of an account; None when it has none by this id. Raises nats errors."""
    request = await find_request(bus, did, job_id)
    if request is None:
        return None
    jobs = bus.jobs
    # The indexer's part is read last: it is never behind the one it is folded with.
    cancel, fetch = await jobs.cancel(did, job_id), await jobs.fetch(did, job_id)
    return fold(request, cancel, fetch, await jobs.index(did, job_id))


async def jobs_of(bus: Bus, did: str) -> list[JobStatus]:
    """An account's jobs of the last 30 days, newest first. Raises nats errors."""
    known = await bus.jobs.jobs_of(did)
    found = await waiting(bus, RequestLane.USER, did)
    if found is None or any(job.job_id == found.request.job_id for job in known):
        return known
    return [fold(found.request, None, None, None), *known]


async def find(bus: Bus, job_id: str) -> JobStatus | None:
    """A job by its id alone, for operators. Raises nats errors."""
    return await bus.jobs.find(job_id) if is_job_id(job_id) else None


def page(
    jobs: Iterable[JobStatus], *, state: JobState | None, before: str | None, limit: int
) -> tuple[list[JobStatus], str | None]:
    """The next ``limit`` jobs, newest first, after job ``before``; and the id to go on from, None at the end."""
    chosen = [job for job in jobs if (state is None or job.state is state) and (before is None or job.job_id < before)]
    chosen.sort(key=lambda job: job.job_id, reverse=True)
    more = len(chosen) > limit
    return chosen[:limit], chosen[limit - 1].job_id if more else None
