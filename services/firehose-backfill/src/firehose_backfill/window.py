"""Looking into a relay's window: the first event behind a cursor, by a short connection."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from firehose_backfill.bisection import Bisection
from firehose_backfill.frame_intake import EVENTS, place_of
from firehose_backfill.gaps import Place
from firehose_backfill.relay import Relay
from headwater.errors import InvalidInputError, TransientError
from headwater.frame_reader import parse_frame
from headwater.frames import ErrorFrame
from headwater.http_messages import MessageTooLargeError

log = logging.getLogger("firehose_backfill.window")

_MARGIN_US: Final = 60_000_000
"""How far a relay's clock may be off from ours."""
_SILENCE_SECONDS: Final = 5.0
# At the head of the network's relays something comes at once; a quiet one's end is found without it.
_HEAD_SECONDS: Final = 1.0
_MESSAGES: Final = 100
# So many events are looked at for their newest time; one behind the other they come faster than this.
_SAMPLE: Final = 32
_PAUSE_SECONDS: Final = 0.3


async def event_older_than(relay: Relay, wanted_us: int, end_seq: int | None = None) -> Place | None:
    """An event in the relay's window that is a little older than ``wanted_us``; None when the window begins later.

    ``end_seq`` is an event that is surely not older, if one is known. Raises TransientError, and
    InvalidInputError(HOST_FORBIDDEN).
    """
    if end_seq is None:
        head = await _events_behind(relay, None, _HEAD_SECONDS, 1)
        end_seq = head[0].seq if head else None
    search = Bisection(wanted_us - _MARGIN_US, end_seq)
    asked = 0
    while search.cursor is not None:
        events = await _events_behind(relay, search.cursor, _SILENCE_SECONDS, _SAMPLE)
        search.see(events[0] if events else None, _newest(events, from_the_beginning=search.cursor == 0))
        asked += 1
    log.info("%s was asked %d times for what is older than %d: %s", relay.name, asked, wanted_us, search.older)
    return search.older


def _newest(events: list[Place], *, from_the_beginning: bool) -> int:
    """The newest time of a sample, 0 where it says nothing: of a window that is no longer than the sample is, it is the
    time of the window's end."""
    if from_the_beginning and len(events) < _SAMPLE:
        return 0
    return max((event.at_us for event in events), default=0)


async def _events_behind(relay: Relay, cursor: int | None, seconds: float, most: int) -> list[Place]:
    """The first events behind a cursor (None: at the head) whose times make sense, as far as they come at once."""
    found: list[Place] = []
    async with relay.subscribe(cursor) as stream:
        for _ in range(_MESSAGES):
            try:
                async with asyncio.timeout(_PAUSE_SECONDS if found else seconds):
                    message = await stream.receive()
            except (TimeoutError, MessageTooLargeError):
                return found
            except TransientError:
                if found:
                    return found
                raise
            try:
                frame = parse_frame(message)
            except InvalidInputError:
                continue  # whoever reads it in earnest counts it
            if isinstance(frame, ErrorFrame):
                return found
            if isinstance(frame, EVENTS) and (place := place_of(frame)).at_us > 0:
                found.append(place)
                if len(found) == most:
                    return found
    if found:
        return found
    raise TransientError(f"{relay.name} sent nothing of use behind {cursor}")
