"""Politeness: how many requests a host gets, how many at once, and when it asked to be left alone.

Each host has a bucket of tokens, one a request, and a bounded number of connections. A host that said 429, or that
fails again and again, is not asked for a while; jobs of other hosts go on. So do they when a host is slow: only some of
a worker's jobs may wait for one, and the others come again when it may be their turn. An answer about one account (404,
deactivated) says nothing about its host.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from headwater.backoff import backoff_seconds
from headwater.bus.hosts import MAX_HOSTS_TOLD, HostsReport, PauseCause
from headwater.clock import now_us
from headwater.errors import InvalidInputError, Reason, TransientError
from headwater.rate_limit import RateLimit
from repo_backfill.busy import BusyError
from repo_backfill.host_record import HostRecord

_RESERVE = 0.05
_FAILURES_BEFORE_PAUSE = 3
_PAUSE_CAP = 120.0
_MAX_HOSTS = 10_000


class HostBusyError(BusyError):
    """The host cannot be asked soon. It is no failure of the host's."""


class HostLimiter:
    """The limits of all hosts. ``rate`` is requests a second, ``burst`` the bucket's size; ``most_waiting`` may wait.

    Limits hold for all workers together: since they share one queue, each takes its ``workers``-th part.
    """

    def __init__(
        self,
        *,
        rate: float,
        burst: float,
        connections: int,
        workers: int = 1,
        most_waiting: int = 16,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate / workers
        self._burst = max(1.0, burst / workers)
        self._connections = max(1, connections // workers)
        self._most_waiting = most_waiting
        self._clock = clock
        self._hosts: dict[str, HostRecord] = {}

    @property
    def paused(self) -> int:
        """How many hosts are being left alone."""
        now = self._clock()
        return sum(host.paused_until > now for host in self._hosts.values())

    @asynccontextmanager
    async def request(self, origin: str, *, rank: int, patience: float) -> AsyncIterator[None]:
        """Hold a connection's place at a host for one request, when its turn has come.

        ``rank`` is the lane's, lower goes first. Raises HostBusyError when that takes longer than ``patience`` seconds,
        and at once where so many wait already.
        """
        host = self._host(origin)
        if host.before(rank) >= self._most_waiting:
            raise HostBusyError("many wait for the host", retry_after=self._come_again(host))
        host.waiting[rank] += 1
        waits = True
        try:
            async with asyncio.timeout(patience) as deadline:
                async with host.connections.place(rank):
                    await self._token(host, patience)
                    deadline.reschedule(None)
                    host.waiting[rank] -= 1
                    waits = False
                    async with self._under_way(host):
                        yield
        except TimeoutError:
            if not deadline.expired():
                raise
            again = max(patience, self._come_again(host))
            raise HostBusyError("waiting for the host's turn", retry_after=again) from None
        finally:
            host.waiting[rank] -= waits

    @asynccontextmanager
    async def _under_way(self, host: HostRecord) -> AsyncIterator[None]:
        began = self._clock()
        host.requests += 1
        host.pace.began(began)
        try:
            yield
        finally:
            host.pace.ended(began, self._clock())

    def _come_again(self, host: HostRecord) -> float:
        return host.pace.come_again(self._clock(), 0.0 if host.tokens >= 1.0 else 1.0 / self._rate)

    def answered(self, origin: str, rate_limit: RateLimit | None = None) -> None:
        """The host answered, whatever it said about an account. Its own window is obeyed, less a reserve."""
        host = self._host(origin)
        host.heard(rate_limit)
        if rate_limit is not None and rate_limit.remaining <= rate_limit.limit * _RESERVE:
            host.pause(self._clock() + rate_limit.reset_after, PauseCause.RATE_LIMIT)

    def failed(self, origin: str, error: TransientError) -> None:
        """The host did not answer, answered with 429 or 5xx, or broke off."""
        host = self._host(origin)
        host.failures += 1
        if error.retry_after is not None:
            host.note(PauseCause.RETRY_AFTER, error.detail)
            host.pause(self._clock() + error.retry_after, PauseCause.RETRY_AFTER)
            return
        host.note(Reason.UNREACHABLE, error.detail)
        if host.failures >= _FAILURES_BEFORE_PAUSE:
            pause = backoff_seconds(host.failures - _FAILURES_BEFORE_PAUSE + 1, base=2.0, cap=_PAUSE_CAP)
            host.pause(self._clock() + pause, PauseCause.FAILURES)

    def refused(self, origin: str, error: InvalidInputError) -> None:
        """The host's answer said no, or was wrong. It is counted, and not held against the host."""
        self._host(origin).note(error.reason, error.detail or error.reason)

    def report(self, worker_id: int) -> HostsReport:
        """What people are told: the hosts that are left alone, in use, or wrong most often, before all others."""
        now = self._clock()

        def trouble(named: tuple[str, HostRecord]) -> tuple[bool, int, int, int]:
            host = named[1]
            return host.paused_until > now, host.users, host.errors, host.requests

        chosen = heapq.nlargest(MAX_HOSTS_TOLD, self._hosts.items(), key=trouble)
        told = [host.status(origin, worker_id, now) for origin, host in chosen]
        return HostsReport(worker_id=worker_id, at_us=now_us(), known=len(self._hosts), paused=self.paused, hosts=told)

    async def _token(self, host: HostRecord, patience: float) -> None:
        while (wait := self._wait(host)) > 0:
            if wait > patience:
                raise HostBusyError("the host asked to be left alone", retry_after=wait)
            await asyncio.sleep(wait)
        host.tokens -= 1

    def _wait(self, host: HostRecord) -> float:
        """Seconds until the host may be asked again."""
        now = self._clock()
        host.tokens = min(self._burst, host.tokens + (now - host.refilled_at) * self._rate)
        host.refilled_at = now
        for_token = 0.0 if host.tokens >= 1.0 else (1.0 - host.tokens) / self._rate
        return max(for_token, host.paused_until - now)

    def _host(self, origin: str) -> HostRecord:
        host = self._hosts.get(origin)
        if host is None:
            if len(self._hosts) >= _MAX_HOSTS:
                self._forget_idle()
            host = self._hosts[origin] = HostRecord(self._connections, self._burst, self._clock())
        return host

    def _forget_idle(self) -> None:
        """Let go of hosts about which there is nothing to remember."""
        now = self._clock()
        for origin, host in list(self._hosts.items()):
            if host.is_forgettable(now, self._rate, self._burst):
                del self._hosts[origin]
