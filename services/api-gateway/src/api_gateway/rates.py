"""How fast what only grows grows: rates from looks that come whenever somebody looks; pure but for the clock."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

_SHORTEST: Final = 1.0
_LONGEST: Final = 30.0
_MAX_LOOKS: Final = 64


class Rates:
    """Remembers the looks of the last half minute. The first look of a while knows no rate."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks: deque[tuple[float, Mapping[str, int]]] = deque(maxlen=_MAX_LOOKS)

    def look(self, totals: Mapping[str, int]) -> dict[str, float]:
        """Growth per second of each total since the oldest look of the last half minute that is a second old."""
        now = self._clock()
        while self._looks and now - self._looks[0][0] > _LONGEST:
            self._looks.popleft()
        oldest = self._looks[0] if self._looks and now - self._looks[0][0] >= _SHORTEST else None
        if not self._looks or now - self._looks[-1][0] >= _SHORTEST / 2:
            self._looks.append((now, dict(totals)))
        if oldest is None:
            return {}
        at, before = oldest
        # What begins anew, as after a server lost its memory, has no rate for once.
        return {
            name: (total - before[name]) / (now - at)
            for name, total in totals.items()
            if name in before and total >= before[name]
        }
