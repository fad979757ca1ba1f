"""Getting past a message that is too large to be read: it ends the connection, and would end every next one. Pure.

Which seq such a message has nobody can see. It lies behind the last event that came before it, so a worker asks for
ever later cursors until something else comes, and never again for what lies before that.
"""

from __future__ import annotations

from firehose_backfill.gaps import Place, rewound


class PassingOver:
    """Chooses the cursors for one relay's seqs."""

    def __init__(self) -> None:
        self._ask: int | None = None
        self._step = 0
        self._low = 0
        self._high: int | None = None
        self._behind: int | None = None

    @property
    def passing(self) -> bool:
        """Whether the next cursor leaves something out that nobody has seen."""
        return self._step > 0

    def cursor(self, last: Place | None) -> int | None:
        """What to ask for when ``last`` was the newest event: an overlap, if nothing in it is in the way."""
        if self._ask is not None:
            return self._ask
        cursor = rewound(last)
        if cursor is None or last is None or self._behind is None or self._behind > last.seq:
            return cursor
        return max(cursor, self._behind - 1)

    def ended(self, asked: int | None, came: Place | None, last: Place | None) -> None:
        """A message ended the connection that had asked for ``asked``; ``came`` was its newest event, None if it had
        none, and ``last`` is the newest of all."""
        reached = asked if last is None else last.seq
        if reached is None:
            return
        newest = came.seq if came is not None else asked
        if newest is not None and newest < reached - 1:
            # It is in the overlap: less of that.
            self._ask, self._step, self._high = reached - 1, 0, None
            return
        self._low = max(reached, asked or 0)
        if self._high is None or self._high - self._low < 2:
            self._step, self._high = self._step * 2 or 1, None
            self._ask = reached + self._step
        else:
            self._ask = (self._low + self._high) // 2

    def too_far(self) -> bool:
        """The relay has no event as late as the cursor; whether an earlier one is left to ask for."""
        if self._ask is None or not self.passing or self._ask - self._low < 2:
            return False
        self._high = self._ask
        self._ask = (self._low + self._high) // 2
        return True

    def came(self, first: Place) -> None:
        """Something else has come, first of its connection: what was in the way lies before it."""
        if self._ask is not None:
            self._ask, self._step, self._high, self._behind = None, 0, None, first.seq
