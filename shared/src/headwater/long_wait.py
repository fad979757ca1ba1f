"""Saying in the log that something waits: not for a moment, which is how back-pressure works, but for long."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

LONG_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 60.0


class LongWait:
    """Of whoever tries again and again: told ``because`` of each try that failed, and ``over`` when one did not.

    Who gave up says nothing: a wait of which nothing was heard for a minute has ended.

    ``what`` waits, as the log is to say it. Several that try at once may share one: as long as some of them get on,
    nobody waits.
    """

    def __init__(self, log: logging.Logger, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._what = what
        self._clock = clock
        self._since: float | None = None
        self._tried_at = 0.0
        self._said_at: float | None = None

    def because(self, why: str) -> None:
        """A try failed; ``why``."""
        now = self._clock()
        if self._since is None or now - self._tried_at >= AGAIN_SECONDS:
            self._since, self._said_at = now, None
        elif now - self._since >= LONG_SECONDS and (self._said_at is None or now - self._said_at >= AGAIN_SECONDS):
            self._said_at = now
            self._log.warning("%s: waiting for %.0f s: %s", self._what, now - self._since, why)
        self._tried_at = now

    def over(self) -> None:
        """It goes on."""
        if self._said_at is not None and self._since is not None:
            self._log.info("%s: goes on after %.0f s", self._what, self._clock() - self._since)
        self._since = self._said_at = None
