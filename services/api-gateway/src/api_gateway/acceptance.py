"""Accepting a request for a backfill: one message in REQUESTS, all or nothing.

The message is the truth: it holds the whole request, and the stream takes one per lane and account, so publishing is
the queue, the lock and the answer to "is one running already" at once. The job's ``.request`` part in the bucket is
written after it and only mirrors it: ``api_gateway.jobs`` and repo-backfill put it there where it is missing.

When the bus dies while it is being asked, nobody knows whether the message is in. It is then sent again with the
same Nats-Msg-Id until there is an answer; where none comes in time the caller gets 503 and the request is withdrawn
as soon as the bus is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

import nats.errors
from nats.js.errors import APIError, ServerError, ServiceUnavailableError

from api_gateway.bus import Bus
from api_gateway.cancellation import cancel
from api_gateway.problems import Problem, unavailable
from api_gateway.queue import waiting
from headwater.backoff import backoff_seconds
from headwater.bus.jobs import BackfillRequest, new_job_id
from headwater.bus.round_trip import round_trip
from headwater.bus.streams import STREAM_REQUESTS, subject_is_taken
from headwater.bus.subjects import RequestLane, request_subject
from headwater.clock import DAY_US, now_us
from headwater.service import Tasks

log = logging.getLogger("api_gateway.acceptance")

PATIENCE_SECONDS: Final = 6.0
_TRY_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.2
_ENDING_SECONDS: Final = 3.0
"""How long a request waits for one whose job has ended already to leave the stream, which it does in a moment."""


@dataclass(frozen=True)
class Verdict:
    """``accepted``: the job is new and will run. Otherwise ``job_id`` is the account's job that runs already."""

    job_id: str
    accepted: bool


def new_request(
    did: str,
    days: int,
    *,
    actor: str,
    requested_by: Literal["user", "operator"],
    job_id: str | None = None,
    car_object: str | None = None,
    did_key: str | None = None,
) -> BackfillRequest:
    """A request as of now. The cutoff is fixed here: ``days`` (of 86,400 s) before this moment, none for 0."""
    now = now_us()
    return BackfillRequest(
        job_id=job_id or new_job_id(now),
        did=did,
        lane=RequestLane.USER,
        days=days,
        cutoff_us=now - days * DAY_US if days else None,
        requested_at_us=now,
        requested_by=requested_by,
        actor=actor,
        car_object=car_object,
        did_key=did_key,
    )


class Acceptance:
    """Takes requests. ``tasks`` run what has to go on after the answer."""

    def __init__(self, bus: Bus, tasks: Tasks) -> None:
        self._bus = bus
        self._tasks = tasks

    async def accept(self, request: BackfillRequest) -> Verdict:
        """Queue the request, unless the account has a job already. Raises Problem 503: then nothing will come of it."""
        self._bus.client  # noqa: B018 (raises when there is no connection: nothing may be buffered)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                running = await self._publish(request)
        except TimeoutError:
            self._tasks.start(self._withdraw(request), f"withdraw {request.job_id}")
            raise unavailable(
                "the message bus did not confirm the request, which is withdrawn; ask again", job_id=request.job_id
            ) from None
        if running is not None:
            return Verdict(running, accepted=False)
        try:
            await self._bus.jobs.put_request(request)
        except (nats.errors.Error, Problem):
            self._tasks.start(self._put_part(request), f"part of {request.job_id}")
        return Verdict(request.job_id, accepted=True)

    async def _publish(self, request: BackfillRequest) -> str | None:
        """Publish until there is an answer; the id of the job that has the account, None when it is ours."""
        subject = request_subject(request.lane, request.did)
        payload = request.model_dump_json().encode()
        headers = {"Nats-Msg-Id": request.job_id}
        free_by = asyncio.get_running_loop().time() + _ENDING_SECONDS
        while True:
            try:
                await self._bus.js.publish(
                    subject, payload, timeout=_TRY_SECONDS, stream=STREAM_REQUESTS, headers=dict(headers)
                )
            except APIError as error:
                if subject_is_taken(error):
                    found = await self._owner(request)
                    if found is not None and found != request.job_id and await self._has_ended(request.did, found):
                        if asyncio.get_running_loop().time() > free_by:
                            return found
                        await asyncio.sleep(_PAUSE_SECONDS)
                    elif found is not None:
                        # Ours, when an earlier try went through although its answer did not.
                        return None if found == request.job_id else found
                elif isinstance(error, ServiceUnavailableError | ServerError):
                    await asyncio.sleep(_PAUSE_SECONDS)
                else:
                    raise
            except (nats.errors.Error, Problem) as error:
                log.debug("request %s is not confirmed: %s", request.job_id, error)
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return None

    async def _owner(self, request: BackfillRequest) -> str | None:
        try:
            found = await waiting(self._bus, request.lane, request.did)
        except (nats.errors.Error, Problem):
            await asyncio.sleep(_PAUSE_SECONDS)
            return None
        return found.request.job_id if found else None

    async def _has_ended(self, did: str, job_id: str) -> bool:
        """Whether people are told already that the job is over: its worker is about to acknowledge the request."""
        try:
            status = await self._bus.jobs.status(did, job_id)
        except (nats.errors.Error, Problem):
            return False
        return status is not None and status.state.final

    async def _put_part(self, request: BackfillRequest) -> None:
        await _persist(lambda: self._bus.jobs.put_request(request))

    async def _withdraw(self, request: BackfillRequest) -> None:
        """Take back a request that may or may not have come in."""
        await _persist(lambda: self._take_back(request))

    async def _take_back(self, request: BackfillRequest) -> None:
        # What nats-py still holds for the server has come in when a round trip ends.
        await round_trip(self._bus.client)
        found = await waiting(self._bus, request.lane, request.did)
        if found is not None and found.request.job_id == request.job_id:
            await self._bus.jobs.put_request(request)
            await cancel(self._bus, request.did, request.job_id)
            log.info("request %s came in although nobody was told; it is cancelled", request.job_id)


async def _persist(work: Callable[[], Awaitable[None]]) -> None:
    """Do ``work`` as soon as the bus lets it."""
    attempt = 0
    while True:
        attempt += 1
        try:
            await work()
        except (nats.errors.Error, Problem):
            await asyncio.sleep(backoff_seconds(attempt, cap=10.0))
        else:
            return
