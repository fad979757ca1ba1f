"""What becomes of a raw message before it costs anything: whose it is, and which kind it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from firehose_backfill import metrics
from firehose_backfill.gaps import Place
from firehose_backfill.selection import Selection
from headwater.errors import InvalidInputError
from headwater.frame_reader import parse_frame, parse_frame_of, peek_repo
from headwater.frames import (
    AccountEvent,
    AccountFrame,
    CommitFrame,
    ErrorFrame,
    Frame,
    IdentityFrame,
    InfoFrame,
    SyncFrame,
)
from headwater.record_time import datetime_microseconds
from headwater.syntax import is_did

_KINDS: Final = {
    CommitFrame: "#commit",
    SyncFrame: "#sync",
    IdentityFrame: "#identity",
    AccountFrame: "#account",
    InfoFrame: "#info",
    ErrorFrame: "error",
}
EVENTS: Final = (CommitFrame, SyncFrame, IdentityFrame, AccountFrame)
_LOOK_SECONDS: Final = 1.0


class Passed(NamedTuple):
    """An event that this worker leaves alone; the cursor may pass it."""

    place: Place


class FrameIntake:
    """Sorts the messages of a ``lane`` (``live`` or ``replay``, for counting).

    Others' messages are not decoded, but for one a second: by it the cursor moves on when nothing is to be done here.
    """

    def __init__(self, selection: Selection, lane: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._selection = selection
        self._clock = clock
        self._looked = 0.0
        self._counters = {kind: metrics.FRAMES.labels(lane, name) for kind, name in _KINDS.items()}
        self._others = metrics.FRAMES.labels(lane, "other")
        self._excluded = metrics.FRAMES.labels(lane, "excluded")
        self._unknown = metrics.FRAMES.labels(lane, "unknown")

    def sort(self, message: bytes, *, look: bool = False) -> Frame | Passed | None:
        """The frame in a message, or that it passed; None where nobody needs to know. ``look``: decode it in any case.

        Raises InvalidInputError like ``parse_frame``.
        """
        did = peek_repo(message)
        if did is not None:
            counter = None
            if not self._selection.owns(did):
                counter = self._others
            elif self._selection.excludes(did):
                counter = self._excluded
            if counter is not None:
                counter.inc()
                return self._passed(message, look)
        frame = parse_frame_of(did, message)
        self._counters.get(type(frame), self._unknown).inc()
        return frame

    def whose(self, message: bytes) -> str | None:
        """The account that a message which cannot be read names, if it is this worker's to care for."""
        did = peek_repo(message)
        if did is None or not is_did(did) or not self._selection.owns(did) or self._selection.excludes(did):
            return None
        return did

    def _passed(self, message: bytes, look: bool) -> Passed | None:
        now = self._clock()
        if not look and now - self._looked < _LOOK_SECONDS:
            return None
        self._looked = now
        try:
            frame = parse_frame(message)
        except InvalidInputError:
            return None  # whose it is counts it
        return Passed(place_of(frame)) if isinstance(frame, EVENTS) else None


def place_of(event: AccountEvent) -> Place:
    """The event's seq and time; 1970, where its time names no moment (February 30)."""
    return Place(event.seq, datetime_microseconds(event.time) or 0)
