"""What the indexer says of itself in its heartbeat, for people."""

from __future__ import annotations

import time
from collections.abc import Callable

from indexer import metrics

_LANES = ("live", "replay", "backfill")


def indexer_figures() -> Callable[[], dict[str, float]]:
    """Rows a second of each lane since the call before, and the bytes held."""
    seen = {"at": time.monotonic(), **{lane: _rows(lane) for lane in _LANES}}

    def figures() -> dict[str, float]:
        now = time.monotonic()
        seconds, seen["at"] = max(now - seen["at"], 0.001), now
        found: dict[str, float] = {}
        for lane in _LANES:
            rows = _rows(lane)
            found[f"{lane}_rows_per_second"] = round((rows - seen[lane]) / seconds)
            seen[lane] = rows
            found[f"{lane}_bytes_held"] = metrics.value(metrics.BYTES_HELD.labels(lane))
        found["repos_desynchronized"] = metrics.value(metrics.DESYNCHRONIZED)
        return found

    return figures


def _rows(lane: str) -> float:
    return sum(metrics.value(metrics.ROWS_WRITTEN.labels(lane, way)) for way in ("copy", "merge"))
