"""A firehose: events in the order in which a host tells them, with its own seqs, and what can be wrong with it.

Source: https://atproto.com/specs/event-stream#sequence-numbers
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from itertools import islice

from . import spoils
from .events import Committed, Event
from .spoils import Junk
from .tid import Clock


@dataclass(frozen=True, slots=True)
class Entry:
    """One message: an event, perhaps spoilt, or something else in its place. Its seq, and the time it was told."""

    seq: int
    time_us: int
    event: Event | None = None
    spoil: str | None = None
    instead: Junk | None = None

    def content(self) -> bytes | str:
        """What goes over the websocket: bytes, or a text."""
        if self.instead is not None:
            return self.instead.content
        assert self.event is not None
        if self.spoil is not None and isinstance(self.event, Committed):
            return spoils.spoilt(self.event, self.spoil, self.seq)
        return self.event.message().encode(self.seq)

    @property
    def closes(self) -> bool:
        return self.instead is not None and self.instead.closes


@dataclass(slots=True)
class _Tampering:
    """What to do with the next `times` events (of this DID); None: with all from now on."""

    kind: str
    did: str | None
    times: int | None

    def takes(self, event: Event) -> bool:
        whose = self.did is None or self.did == event.did
        return whose and (self.kind not in spoils.SPOILS or isinstance(event, Committed))


#: What can be done with a coming event besides spoiling it: never told; told twice; told behind the next one.
_TRICKS = frozenset(("hide", "repeat", "swap"))


class Stream:
    """The events of one host. All attributes may be changed while consumers listen.

    `keep_events` and `keep_seconds` (of the world's clock) bound how far a cursor can reach back; `says_outdated` and
    `says_future` are whether consumers are told when theirs does not fit; `queue` is how many messages a consumer may
    be behind before it is called too slow.
    """

    def __init__(self, clock: Clock | None = None, first_seq: int = 1) -> None:
        self.keep_events: int | None = None
        self.keep_seconds: float | None = None
        self.says_outdated = True
        self.says_future = True
        self.queue: int | None = None
        #: Set and replaced whenever there is something new.
        self.news = asyncio.Event()
        self._clock = clock or Clock()
        self._entries: deque[Entry] = deque()
        self._dropped = 0
        self._next_seq = first_seq
        self._tamperings: list[_Tampering] = []
        self._swapped: Event | None = None
        #: Goes up when all consumers are to be disconnected.
        self.generation = 0

    # -- telling

    def append(self, event: Event) -> None:
        """Tell an event, unless somebody tampers with it."""
        kind = self._tampering(event)
        if kind == "hide":
            return
        if kind == "swap":
            self._swapped = event
            return
        entry = self._add(event, spoil=kind if kind in spoils.SPOILS else None)
        if kind == "repeat":
            self._put(entry)
        if self._swapped is not None:
            # It was first: its seq is the lower one, and it comes behind.
            held, self._swapped = self._swapped, None
            self._entries.pop()
            self._put(Entry(entry.seq + 1, entry.time_us, event, entry.spoil))
            self._put(Entry(entry.seq, entry.time_us, held))
            self._next_seq += 1

    def tamper(self, kind: str, did: str | None = None, times: int | None = 1) -> None:
        """Do this to coming events: hide, repeat, swap, or a way to spoil commits (`spoils.SPOILS`)."""
        if kind not in spoils.SPOILS | _TRICKS:
            raise KeyError(kind)
        self._tamperings.append(_Tampering(kind, did, times))

    def junk(self, kind: str) -> int:
        """Send a message of no account (see `spoils.junk`); the seq that it takes."""
        seq = self._next_seq
        self._put(Entry(seq, self._clock.now_us, instead=spoils.junk(kind, seq, self._clock.now_us)))
        self._next_seq += 1
        return seq

    def repeat(self, count: int) -> None:
        """Send the last messages once more, with the seqs they had."""
        for entry in list(self._entries)[-count:]:
            self._put(entry)

    def heal(self) -> None:
        """Tamper with nothing any more."""
        self._tamperings.clear()

    # -- seqs

    @property
    def last_seq(self) -> int:
        """The highest seq so far, told or skipped."""
        return self._next_seq - 1

    @property
    def first_seq(self) -> int | None:
        """The oldest seq that a cursor can still reach."""
        self._forget_old()
        return self._entries[0].seq if self._entries else None

    def jump(self, by: int) -> None:
        """Leave out so many seqs."""
        self._next_seq += by

    def restart(self, first_seq: int = 1) -> None:
        """Begin anew like a relay that has lost its disk: no history, other seqs, consumers disconnected."""
        self._dropped += len(self._entries)
        self._entries.clear()
        self._next_seq = first_seq
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connections of all consumers, without a word."""
        self.generation += 1
        self._wake()

    # -- reading

    def __len__(self) -> int:
        """How many messages a cursor can reach."""
        self._forget_old()
        return len(self._entries)

    @property
    def end(self) -> int:
        """The place behind the newest message."""
        return self._dropped + len(self._entries)

    def place_after(self, cursor: int) -> int:
        """The place of the first message that a consumer with this cursor has not seen."""
        self._forget_old()
        later = (place for place, entry in enumerate(self._entries) if entry.seq > cursor)
        return self._dropped + next(later, len(self._entries))

    def read(self, place: int, limit: int) -> tuple[int, list[Entry]]:
        """Messages from a place on, and the place behind them; those that are forgotten are left out."""
        start = max(place - self._dropped, 0)
        found = list(islice(self._entries, start, start + limit))
        return self._dropped + start + len(found), found

    # -- inside

    def _tampering(self, event: Event) -> str | None:
        for tampering in self._tamperings:
            if tampering.takes(event):
                if tampering.times is not None:
                    tampering.times -= 1
                    if not tampering.times:
                        self._tamperings.remove(tampering)
                return tampering.kind
        return None

    def _add(self, event: Event, spoil: str | None) -> Entry:
        entry = Entry(self._next_seq, event.time_us, event, spoil)
        self._next_seq += 1
        self._put(entry)
        return entry

    def _put(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._forget_old()
        self._wake()

    def _wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    def _forget_old(self) -> None:
        if self.keep_events is not None:
            self._forget(len(self._entries) - self.keep_events)
        if self.keep_seconds is not None:
            oldest_us = self._clock.now_us - int(self.keep_seconds * 1_000_000)
            while self._entries and self._entries[0].time_us < oldest_us:
                self._forget(1)

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._entries.popleft()
            self._dropped += 1
