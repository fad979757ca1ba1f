"""Where a worker is in a relay's firehose: the contiguous low-watermark, and the cursor that is saved of it. Pure.

Source of the rule: https://atproto.com/specs/event-stream#sequence-numbers says what a cursor is; which one is safe
follows from what it is for. A saved cursor says that everything up to it is on the bus.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec
from pydantic import BaseModel, ConfigDict

LIVE: Final = "live"


class Mark(msgspec.Struct, eq=False, gc=False):
    """An event under way; made by ``LowWatermark.begin``."""

    seq: int
    at_us: int
    done: bool = False


class LowWatermark:
    """Up to where all events that have arrived are safe, in whatever order they become it.

    ``seq`` and ``at_us`` are of the newest event before which, in the relay's order, none is missing; None before
    the first one. They never go back, so that events which come a second time after a reconnect change nothing.
    """

    def __init__(self) -> None:
        self._under_way: deque[Mark] = deque()
        self.seq: int | None = None
        self.at_us: int | None = None

    def __len__(self) -> int:
        """How many events are held: those not safe yet, and the safe ones behind the first of them."""
        return len(self._under_way)

    def begin(self, seq: int, at_us: int) -> Mark:
        """An event has arrived: ``seq``, and the relay's time of it in microseconds since 1970."""
        mark = Mark(seq, at_us)
        self._under_way.append(mark)
        return mark

    def done(self, mark: Mark) -> None:
        """The event is safe on the bus, or there is nothing of it to keep."""
        mark.done = True
        while self._under_way and self._under_way[0].done:
            passed = self._under_way.popleft()
            if self.seq is None or passed.seq > self.seq:
                self.seq, self.at_us = passed.seq, passed.at_us


class Cursor(BaseModel):
    """A saved cursor: an event's seq, the relay's time of it, and when this was saved (microseconds since 1970)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    seq: int
    at_us: int
    saved_at_us: int


class CursorKey(BaseModel):
    """Whose cursor: one worker's of a layout of ``worker_count`` workers, at one relay."""

    model_config = ConfigDict(frozen=True)

    relay: str
    worker_count: int
    worker_id: int

    @property
    def text(self) -> str:
        """The key in the ``cursors`` bucket: live.<relay>.<worker count>.<worker id>."""
        return f"{LIVE}.{relay_token(self.relay)}.{self.worker_count}.{self.worker_id}"


def parse_cursor_key(text: str) -> CursorKey | None:
    """The reverse of ``CursorKey.text``; None for other keys of the bucket."""
    parts = text.split(".")
    if len(parts) != 4 or parts[0] != LIVE or not (parts[2].isdecimal() and parts[3].isdecimal()):
        return None
    relay = parts[1].replace("/", ".").replace("=", ":")
    return CursorKey(relay=relay, worker_count=int(parts[2]), worker_id=int(parts[3]))


def relay_token(relay: str) -> str:
    """A relay's name (host and port) as one token of a key."""
    return relay.replace(".", "/").replace(":", "=")
