"""How long to wait before the next try."""

from __future__ import annotations

import random

_MAX_EXPONENT = 16


def backoff_seconds(attempt: int, *, base: float = 0.5, cap: float = 60.0, rng: random.Random | None = None) -> float:
    """Seconds to wait after failed try ``attempt`` (from 1): exponential with equal jitter, never above ``cap``.

    The exponent is capped too, so that the hundredth try does not overflow.
    """
    ceiling = min(cap, base * 2.0 ** min(max(attempt, 1) - 1, _MAX_EXPONENT))
    return ceiling / 2 + (rng or random).uniform(0, ceiling / 2)
