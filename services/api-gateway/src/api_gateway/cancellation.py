"""Cancelling a job: the ``.cancel`` part says so to whoever works on it; what nobody works on leaves the queue."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import nats.errors
from nats.js.errors import APIError

from api_gateway.bus import Bus
from api_gateway.jobs import find_request, status_of
from api_gateway.problems import Problem
from api_gateway.queue import Waiting, waiting, was_delivered
from headwater.bus.jobs import CancelPart, FetchState, JobStatus
from headwater.bus.streams import STREAM_REQUESTS, subject_is_taken
from headwater.bus.subjects import request_subject
from headwater.clock import now_us

_SOON_US: Final = 5_000_000


async def cancel(bus: Bus, did: str, job_id: str) -> JobStatus | None:
    """Ask a job to stop, and give its state after that; None when the account has no such job.

    Asking twice is the same as asking once. Raises Problem 409 for a job that has ended, and nats errors.
    """
    request = await find_request(bus, did, job_id)
    before = await status_of(bus, did, job_id)
    if request is None or before is None:
        return None
    if before.state.final:
        if before.cancel_requested:
            return before
        raise Problem(
            HTTPStatus.CONFLICT, "job_ended", f"the job is {before.state} already", extensions={"job_id": job_id}
        )
    if not before.cancel_requested:
        await bus.jobs.put_cancel(did, job_id, CancelPart(requested_at_us=now_us()))
    found = await waiting(bus, request.lane, did)
    if found is not None and found.request.job_id == job_id:
        await _unqueue(bus, found)
    return await status_of(bus, did, job_id)


async def _unqueue(bus: Bus, found: Waiting) -> None:
    """Free the account's place in the queue at once where no worker holds the request.

    A worker looks for the ``.cancel`` part, written before this, when it takes a request. So one that takes it
    between our look and the deletion finds that it is cancelled.
    """
    if not await was_delivered(bus, found):
        await _delete(bus, found)
        return
    request = found.request
    fetch = await bus.jobs.fetch(request.did, request.job_id)
    if fetch is None or fetch.state is not FetchState.WAITING or (fetch.next_try_at_us or 0) < now_us() + _SOON_US:
        return
    # It waits for a later try. A worker has to end it, as the indexer may hold parts of it: let one come now.
    await _delete(bus, found)
    try:
        await bus.js.publish(
            request_subject(request.lane, request.did),
            request.model_dump_json().encode(),
            stream=STREAM_REQUESTS,
            headers={"Nats-Msg-Id": f"{request.job_id}.cancel"},
        )
    except APIError as error:
        if not subject_is_taken(error):
            raise


async def _delete(bus: Bus, found: Waiting) -> None:
    try:
        await bus.js.delete_msg(STREAM_REQUESTS, found.sequence)
    except APIError as error:
        # Gone already: its worker ended it meanwhile.
        if not isinstance(error, nats.js.errors.NotFoundError | nats.js.errors.BadRequestError):
            raise
