"""How many requests of a lane have not ended, as the stream has it.

What a consumer says of itself trails the stream: on a busy machine it knows nothing yet of a request whose PubAck is
back already, and whoever keeps a limit by it files too much. A direct get of one message tells how many follow it
(https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md): NATS 2.11 or later, and a stream that
allows direct gets. A request that has ended is acknowledged, and no longer in the stream.
"""

from __future__ import annotations

import json
from typing import Final

import nats.errors
from nats.js import JetStreamContext

from headwater.bus.streams import STREAM_REQUESTS
from headwater.bus.subjects import REQUESTS, RequestLane

_READ_SECONDS: Final = 5.0
_NONE: Final = "404"


async def requests_waiting(js: JetStreamContext, lane: RequestLane) -> int:
    """Requests of the lane that are queued or under way. Raises nats errors."""
    question = json.dumps({"seq": 1, "batch": 1, "next_by_subj": f"{REQUESTS}.{lane.value}.*"}).encode()
    client = js._nc  # noqa: SLF001
    answer = await client.request(f"$JS.API.DIRECT.GET.{STREAM_REQUESTS}", question, timeout=_READ_SECONDS)
    headers = answer.headers or {}
    status = headers.get("Status")
    if status == _NONE:
        return 0
    if status is not None:
        raise nats.errors.Error(f"the requests are not told: {status} {headers.get('Description')}")
    return 1 + int(headers["Nats-Num-Pending"])
