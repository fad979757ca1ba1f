"""Where in a relay's window a time is: bisection over seq, by the first event behind a cursor. Pure.

Relays skip seqs, their windows move on while one searches, and a clock may be a little off: so what is looked for is
an event that is surely older than the time and not much, from which on everything can be read.
"""

from __future__ import annotations

from typing import Final

from firehose_backfill.gaps import Place

NEAR_US: Final = 120_000_000
"""An event this much older than what is looked for is near enough."""


class Bisection:
    """Finds an event that is older than ``wanted_us`` (microseconds since 1970), among those before ``end_seq``.

    Ask the relay for the first event behind ``cursor`` and say it to ``see``, until ``cursor`` is None. ``older`` is
    then the event to read from; None when the window begins later than what is wanted. Without an ``end_seq`` ever
    longer strides look for one.
    """

    def __init__(self, wanted_us: int, end_seq: int | None) -> None:
        self._wanted_us = wanted_us
        self._end = end_seq
        self._stride = 1
        self._older_us = 0
        self.older: Place | None = None
        self.cursor: int | None = 0

    def see(self, first: Place | None, newest_us: int = 0) -> None:
        """The first event behind ``cursor``; None when there is none.

        ``newest_us`` is the newest time of the events right behind it: a relay passes on late what a host held back,
        with the time that it had there, so that one old event alone means nothing.
        """
        asked = self.cursor
        assert asked is not None
        newest_us = newest_us if first is None else max(first.at_us, newest_us)
        if first is not None and (self._end is None or first.seq <= self._end) and newest_us < self._wanted_us:
            self.older, self._older_us = first, newest_us
        elif asked == 0:
            # Nothing is old enough, not even the window's beginning.
            self.cursor = None
            return
        else:
            self._end = asked
        self.cursor = self._next()

    def _next(self) -> int | None:
        assert self.older is not None
        if self._wanted_us - self._older_us <= NEAR_US:
            return None
        if self._end is None:
            self._stride *= 2
            return self.older.seq + self._stride
        if self._end - self.older.seq < 2:
            return None
        return (self.older.seq + self._end) // 2
