"""Whether a connection goes on where the last one ended, judged by the first events of it. Pure.

Relays do not reliably say when they cannot (OutdatedCursor, FutureCursor), and both seq and time leave gaps by
themselves: relays skip seqs, and in a quiet network nothing happens for hours. So a worker asks for a few events
again that it has. If they come, nothing is missing, however far the next one is; if the first event lies behind
the last one that it has, what was between cannot be known, and that is a gap.
"""

from __future__ import annotations

from typing import Final

import msgspec

from headwater.bus.firehose import Gap, GapKind, GapState

MARGIN: Final = 200
"""How many seqs before the newest event a worker asks for again, at most."""
# Hosts' clocks, by which repos' revs are compared with a gap's beginning, are not the relay's.
_CLOCKS_DIFFER_US: Final = 60 * 1_000_000


class Place(msgspec.Struct, frozen=True, gc=False):
    """An event: its seq, and the relay's time of it in microseconds since 1970."""

    seq: int
    at_us: int


def newer(one: Place | None, other: Place | None) -> Place | None:
    """The event with the higher seq."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda place: place.seq)


def rewound(last: Place | None) -> int | None:
    """The cursor to ask for after ``last``; None, the head, when nothing has been seen."""
    # Of a young relay less, so that one that begins anew is noticed by seqs that lie before what was asked for.
    return None if last is None else max(last.seq - min(MARGIN, last.seq // 10 + 1), 0)


class Continuity:
    """Looks at the events of one connection until it is clear how it follows on ``last``.

    ``asked`` is the cursor that was asked for; ``from_time`` says that there is no ``last`` in these seqs although
    events were seen (at another relay, say); ``passing``: that something was left out which could not be read.
    """

    def __init__(
        self, last: Place | None, asked: int | None, *, from_time: bool = False, passing: bool = False
    ) -> None:
        self._last = last
        self._asked = asked
        self._from_time = from_time
        self._passing = passing
        self._outdated = False
        self._first = True
        self.settled = False

    def outdated(self) -> None:
        """The relay said OutdatedCursor."""
        self._outdated = True

    def see(self, event: Place) -> GapKind | None:
        """Look at the next event; the kind of gap before it, if there is one."""
        first, self._first = self._first, False
        if self._last is None:
            self.settled = True
            return GapKind.OTHER_SEQ_SPACE if self._from_time else None
        if event.seq < self._last.seq:
            if first and self._asked is not None and event.seq < self._asked:
                return self._settle(GapKind.OTHER_SEQ_SPACE)
            return None
        if event.seq == self._last.seq:
            same = event.at_us == self._last.at_us
            return self._settle(None if same else GapKind.OTHER_SEQ_SPACE)
        if not first or event.seq == self._last.seq + 1:
            return self._settle(None)
        if self._passing:
            return self._settle(GapKind.MESSAGE_TOO_LARGE)
        return self._settle(GapKind.OUTDATED_CURSOR if self._outdated else GapKind.SEQ_JUMP)

    def _settle(self, kind: GapKind | None) -> GapKind | None:
        self.settled = True
        return kind

    @property
    def resumes(self) -> bool:
        """Whether this connection goes on with seqs of which some were seen before."""
        return self._last is not None


def gap_before(
    kind: GapKind, relay: str, worker_id: int, last: Place | None, first: Place, seen_us: int, now_us: int
) -> Gap:
    """The gap between ``last``, or what else was seen up to ``seen_us``, and the ``first`` event behind it.

    The same gap has the same id, so that a worker who dies behind writing it does not make two of it.
    """
    from_us = min(seen_us, now_us) - _CLOCKS_DIFFER_US
    return Gap(
        gap_id=f"{worker_id}-{from_us}-{first.seq}",
        kind=kind,
        state=GapState.OPEN,
        relay=relay,
        worker_id=worker_id,
        from_seq=None if last is None else last.seq,
        to_seq=first.seq,
        from_us=from_us,
        to_us=max(from_us, min(first.at_us, now_us)),
        found_at_us=now_us,
    )
