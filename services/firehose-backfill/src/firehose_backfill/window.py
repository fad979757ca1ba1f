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


async def event_older_than(relay: Relay, wanted_us: int, end_seq: int | None = None) -> Place | None:
    """An event in the relay's window that is a little older than ``wanted_us``; None when the window begins later.

    ``end_seq`` is an event that is surely not older, if one is known. Raises TransientError, and
    InvalidInputError(HOST_FORBIDDEN).
    """
    if end_seq is None:
        head = await _first_behind(relay, None, _HEAD_SECONDS)
        end_seq = None if head is None else head.seq
    search = Bisection(wanted_us - _MARGIN_US, end_seq)
    asked = 0
    while search.cursor is not None:
        search.see(await _first_behind(relay, search.cursor, _SILENCE_SECONDS))
        asked += 1
    log.info("%s was asked %d times for what is older than %d: %s", relay.name, asked, wanted_us, search.older)
    return search.older


async def _first_behind(relay: Relay, cursor: int | None, seconds: float) -> Place | None:
    """The first event behind a cursor (None: at the head) whose time makes sense; None when nothing comes."""
    async with relay.subscribe(cursor) as stream:
        for _ in range(_MESSAGES):
            try:
                async with asyncio.timeout(seconds):
                    message = await stream.receive()
            except (TimeoutError, MessageTooLargeError):
                return None
            try:
                frame = parse_frame(message)
            except InvalidInputError:
                continue  # whoever reads it in earnest counts it
            if isinstance(frame, ErrorFrame):
                return None
            if isinstance(frame, EVENTS) and (place := place_of(frame)).at_us > 0:
                return place
    raise TransientError(f"{relay.name} sent nothing of use behind {cursor}")
