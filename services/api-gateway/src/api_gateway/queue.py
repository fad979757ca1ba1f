"""What waits in REQUESTS: one account's request, if there is one."""

from __future__ import annotations

from dataclasses import dataclass

from nats.js.errors import NotFoundError
from pydantic import ValidationError

from api_gateway.bus import Bus
from headwater.bus.jobs import BackfillRequest
from headwater.bus.streams import STREAM_REQUESTS, request_consumer
from headwater.bus.subjects import RequestLane, request_subject
from headwater.errors import InvariantError


@dataclass(frozen=True)
class Waiting:
    """A request in the stream, whether it waits or is worked on, and its sequence number there."""

    request: BackfillRequest
    sequence: int


async def waiting(bus: Bus, lane: RequestLane, did: str) -> Waiting | None:
    """The account's request that is not ended yet: the one running job of this lane.

    Raises nats errors, and InvariantError for a message that is not a request.
    """
    try:
        message = await bus.js.get_last_msg(STREAM_REQUESTS, request_subject(lane, did))
    except NotFoundError:
        return None
    try:
        request = BackfillRequest.model_validate_json(message.data or b"")
    except ValidationError as error:
        raise InvariantError(f"request {message.seq} of {did} is malformed: {error.error_count()} errors") from error
    return Waiting(request, message.seq or 0)


async def was_delivered(bus: Bus, found: Waiting) -> bool:
    """Whether a worker has ever been given this request.

    The lane's consumer goes through the stream in order, so what lies beyond its last delivery is untouched.
    """
    info = await bus.js.consumer_info(STREAM_REQUESTS, request_consumer(found.request.lane))
    return info.delivered is not None and found.sequence <= info.delivered.stream_seq
