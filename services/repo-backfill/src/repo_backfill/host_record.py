"""What is known of one host: its limiter's state, and what it has answered."""

from __future__ import annotations

from collections import Counter

from headwater.bus.hosts import MAX_HOST_ERROR, HostState, HostStatus, PauseCause
from headwater.clock import now_us
from headwater.rate_limit import RateLimit
from repo_backfill.host_pace import HostPace
from repo_backfill.slots import Slots


class HostRecord:
    """One host. Times are of the limiter's clock, in seconds, but for those that people are told."""

    def __init__(self, connections: int, tokens: float, now: float) -> None:
        self.connections = Slots(connections)
        self.pace = HostPace(connections)
        self.waiting: Counter[int] = Counter()
        self.tokens = tokens
        self.refilled_at = now
        self.paused_until = 0.0
        self.failures = 0
        self.requests = 0
        self._cause: PauseCause | None = None
        self._rate_limit: RateLimit | None = None
        self._errors: Counter[str] = Counter()
        self._last_error: str | None = None
        self._last_error_at_us: int | None = None

    @property
    def running(self) -> int:
        """How many requests are under way."""
        return self.pace.running

    @property
    def users(self) -> int:
        """How many requests are under way or wait for their turn."""
        return self.running + self.waiting.total()

    @property
    def errors(self) -> int:
        """How many answers were none, or said no."""
        return self._errors.total()

    def before(self, rank: int) -> int:
        """How many wait whose turn comes before that of a newcomer of this rank."""
        return sum(count for waits, count in self.waiting.items() if waits <= rank)

    def pause(self, until: float, cause: PauseCause) -> None:
        """Leave it alone until then, unless it is left alone for longer already."""
        if until > self.paused_until:
            self.paused_until, self._cause = until, cause

    def heard(self, rate_limit: RateLimit | None) -> None:
        """It answered, with these words about its own window."""
        self.failures = 0
        if rate_limit is not None:
            self._rate_limit = rate_limit

    def note(self, reason: str, detail: str) -> None:
        """Count an error. ``reason`` is of a closed set, ``detail`` a stranger's text."""
        self._errors[reason] += 1
        self._last_error = detail[:MAX_HOST_ERROR]
        self._last_error_at_us = now_us()

    def is_forgettable(self, now: float, rate: float, burst: float) -> bool:
        """Whether nothing of it has to be remembered: it has all its tokens, and nobody uses or waits for it."""
        full = self.tokens + (now - self.refilled_at) * rate >= burst
        return full and not self.users and self.paused_until <= now

    def status(self, host: str, worker_id: int, now: float) -> HostStatus:
        """As people see it."""
        paused = self.paused_until > now
        limits = self._rate_limit
        return HostStatus(
            host=host,
            worker_id=worker_id,
            state=HostState.PAUSED if paused else HostState.BUSY if self.users else HostState.IDLE,
            cause=self._cause if paused else None,
            paused_until_us=now_us() + int((self.paused_until - now) * 1_000_000) if paused else None,
            running=self.running,
            waiting=self.waiting.total(),
            tokens=round(self.tokens, 2),
            requests=self.requests,
            limit=None if limits is None else limits.limit,
            remaining=None if limits is None else limits.remaining,
            failures_in_a_row=self.failures,
            errors=dict(self._errors),
            last_error=self._last_error,
            last_error_at_us=self._last_error_at_us,
        )
