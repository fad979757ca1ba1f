"""Filing requests for repos with repo-backfill, and seeing them end.

The REQUESTS stream takes one request per lane and account. One that is there already counts, if it brings at least
as much; otherwise its end is waited for. Whatever a crawl filed has ended when nothing at or before its last
request's place in the stream is left in its lane: repo-backfill acknowledges a request after its job's end.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError
from pydantic import ValidationError

from headwater.backoff import backoff_seconds
from headwater.bus.jobs import BackfillRequest, system_request
from headwater.bus.requests_waiting import requests_waiting
from headwater.bus.streams import STREAM_REQUESTS, subject_is_taken
from headwater.bus.subjects import REQUESTS, RequestLane, request_subject
from headwater.clock import now_us
from headwater.errors import InvariantError
from headwater.long_wait import LongWait

log = logging.getLogger("firehose_backfill.filing")

_PUBLISH_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Scope:
    """What a crawl asks for of each repo: what is not older than ``cutoff_us`` (None: everything), as it stands at
    ``since_us`` or later. Microseconds since 1970."""

    lane: RequestLane
    cutoff_us: int | None
    since_us: int

    def is_covered_by(self, request: BackfillRequest) -> bool:
        """Whether a request that is there already brings all that this asks for."""
        if request.requested_at_us < self.since_us or request.car_object is not None:
            return False
        if request.cutoff_us is None or self.cutoff_us is None:
            return request.cutoff_us is None
        return request.cutoff_us <= self.cutoff_us


class Filing:
    """The crawls' way to repo-backfill. Methods raise nats errors when the bus is away for long."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def file(self, did: str, scope: Scope) -> int:
        """Ask for a repo; the place in the stream of the request that counts, ours or one that was there.

        Waits for the end of one that was there and brings less, which the log says when it is long in coming.
        """
        tries = 0
        wait = LongWait(log, f"asking for {did}")
        while True:
            try:
                request = system_request(scope.lane, did, scope.cutoff_us, now_us(), scope.since_us)
                ack = await self._js.publish(
                    request_subject(scope.lane, did),
                    request.model_dump_json().encode(),
                    timeout=_PUBLISH_SECONDS,
                    stream=STREAM_REQUESTS,
                    headers={"Nats-Msg-Id": request.job_id},
                )
            except APIError as error:
                if not subject_is_taken(error):
                    raise
                found = await self._there(did, scope)
                if found is not None:
                    return found
                tries += 1
                wait.because("an older request for less of it has not ended")
                await asyncio.sleep(backoff_seconds(tries, base=0.2, cap=_LOOK_SECONDS))
            else:
                wait.over()
                return ack.seq

    async def _there(self, did: str, scope: Scope) -> int | None:
        """The place of the request that has the account, if it will do."""
        try:
            message = await self._js.get_last_msg(STREAM_REQUESTS, request_subject(scope.lane, did))
        except NotFoundError:
            return None
        try:
            request = BackfillRequest.model_validate_json(message.data or b"")
        except ValidationError as error:
            raise InvariantError(f"request {message.seq} of {did} is malformed") from error
        return message.seq if scope.is_covered_by(request) else None

    async def waiting(self, lane: RequestLane) -> int:
        """How many requests of a lane have not ended."""
        return await requests_waiting(self._js, lane)

    async def have_ended(self, lane: RequestLane, seq: int) -> bool:
        """Whether every request of a lane up to this place in the stream has ended."""
        try:
            oldest = await self._js.get_msg(STREAM_REQUESTS, seq=1, subject=f"{REQUESTS}.{lane.value}.*", next=True)
        except NotFoundError:
            return True
        return (oldest.seq or 0) > seq


BUS_AWAY: Final = (nats.errors.Error, OSError)
