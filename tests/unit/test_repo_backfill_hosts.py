"""What a host is spared: bursts beyond its bucket, more connections than allowed, requests while it asked for peace."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from clock import Clock
from headwater.errors import InvalidInputError, Reason, TransientError
from headwater.http import GuardedHttp
from headwater.rate_limit import RateLimit
from repo_backfill.busy import BusyError
from repo_backfill.hosts import HostBusyError, HostLimiter
from repo_backfill.pds import CarLimits, PdsClient, Turn

A, B = "https://a.example", "https://b.example"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limiter(clock: Clock, **fields: float) -> HostLimiter:
    values = {"rate": 1.0, "burst": 2, "connections": 2, **fields}
    return HostLimiter(clock=clock, **values)  # type: ignore[arg-type]


async def ask(hosts: HostLimiter, origin: str, patience: float = 0.01) -> None:
    async with hosts.request(origin, rank=0, patience=patience):
        pass


async def test_a_burst_then_the_rate(clock: Clock):
    hosts = limiter(clock)
    await ask(hosts, A)
    await ask(hosts, A)
    with pytest.raises(HostBusyError) as busy:
        await ask(hosts, A)
    assert busy.value.retry_after == pytest.approx(1.0)
    await ask(hosts, B)
    clock.now += 1.0
    await ask(hosts, A)


async def test_workers_share_a_hosts_limits(clock: Clock):
    hosts = limiter(clock, burst=4, workers=2)
    await ask(hosts, A)
    await ask(hosts, A)
    with pytest.raises(HostBusyError) as busy:
        await ask(hosts, A)
    assert busy.value.retry_after == pytest.approx(2.0)


async def test_connections_are_bounded_per_host(clock: Clock):
    hosts = limiter(clock, burst=10, connections=1)
    async with hosts.request(A, rank=0, patience=1):
        with pytest.raises(HostBusyError):
            await ask(hosts, A)
        await ask(hosts, B)
    await ask(hosts, A)


async def test_of_those_who_wait_for_a_slow_host_the_most_come_again_later(clock: Clock):
    hosts = limiter(clock, burst=100, connections=1, most_waiting=2)
    async with hosts.request(A, rank=1, patience=1):
        waiting = [asyncio.create_task(ask(hosts, A, patience=60)) for _ in range(2)]
        await asyncio.sleep(0)
        clock.now += 30.0
        again = []
        for _ in range(3):
            with pytest.raises(HostBusyError, match="many wait") as busy:
                await ask(hosts, A, patience=60)
            again.append(busy.value.retry_after)
        await ask(hosts, B)
    assert again == [30.0, 60.0, 90.0], "each a turn after the one before, as long as the one under way has taken"
    await asyncio.gather(*waiting)
    await ask(hosts, A)


async def test_those_of_a_lower_rank_who_wait_keep_nobody_of_a_higher_away(clock: Clock):
    hosts = limiter(clock, burst=100, connections=1, most_waiting=2)
    order: list[int] = []

    async def come(rank: int) -> None:
        async with hosts.request(A, rank=rank, patience=60):
            order.append(rank)

    async with hosts.request(A, rank=2, patience=1):
        waiting = [asyncio.create_task(come(2)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(HostBusyError, match="many wait"):
            await come(2)
        waiting.append(asyncio.create_task(come(0)))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert order == [0, 2, 2]


async def test_who_gives_up_waiting_makes_room(clock: Clock):
    hosts = limiter(clock, burst=100, connections=1, most_waiting=1)
    async with hosts.request(A, rank=0, patience=1):
        for _ in range(3):
            with pytest.raises(HostBusyError, match="turn"):
                await ask(hosts, A)
        given_up = asyncio.create_task(ask(hosts, A, patience=60))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        with pytest.raises(HostBusyError, match="turn"):
            await ask(hosts, A)


async def test_a_timeout_of_the_request_itself_is_not_taken_for_a_busy_host(clock: Clock):
    hosts = limiter(clock)
    with pytest.raises(TimeoutError):
        async with hosts.request(A, rank=0, patience=0.05):
            await asyncio.sleep(0.1)  # longer than the patience, which is for the wait alone
            raise TimeoutError


async def test_that_we_are_busy_is_not_held_against_the_host(clock: Clock):
    hosts = limiter(clock, burst=100)
    client = PdsClient(cast("GuardedHttp", None), hosts, CarLimits(1, 1.0, 1.0))
    for _ in range(5):
        with pytest.raises(BusyError):
            async with client.turn(A, Turn(rank=0, patience=1.0)):
                raise BusyError("no memory", retry_after=30.0)
    assert hosts.paused == 0


async def test_retry_after_is_obeyed(clock: Clock):
    hosts = limiter(clock, burst=10)
    hosts.failed(A, TransientError("status 429", retry_after=30.0))
    assert hosts.paused == 1
    with pytest.raises(HostBusyError) as busy:
        await ask(hosts, A)
    assert busy.value.retry_after == pytest.approx(30.0)
    clock.now += 30.0
    await ask(hosts, A)


async def test_a_host_is_left_alone_after_failures_in_a_row_only(clock: Clock):
    hosts = limiter(clock, burst=10)
    for _ in range(2):
        hosts.failed(A, TransientError("reset"))
    hosts.answered(A)
    for _ in range(2):
        hosts.failed(A, TransientError("reset"))
    await ask(hosts, A)
    hosts.failed(A, TransientError("reset"))
    with pytest.raises(HostBusyError):
        await ask(hosts, A)


async def test_a_hosts_own_window_is_obeyed_less_a_reserve(clock: Clock):
    hosts = limiter(clock, burst=10)
    hosts.answered(A, RateLimit(limit=100, remaining=6, reset_after=60.0))
    await ask(hosts, A)
    hosts.answered(A, RateLimit(limit=100, remaining=5, reset_after=60.0))
    with pytest.raises(HostBusyError) as busy:
        await ask(hosts, A)
    assert busy.value.retry_after == pytest.approx(60.0)


async def test_the_memory_of_hosts_is_bounded_but_pauses_are_kept(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("repo_backfill.hosts._MAX_HOSTS", 10)
    hosts = limiter(clock)
    hosts.failed(A, TransientError("status 429", retry_after=1e6))
    for number in range(100):
        clock.now += 10
        await ask(hosts, f"https://{number}.example")
    assert len(hosts._hosts) <= 11
    assert hosts.paused == 1


async def test_what_is_told_of_hosts_is_bounded_and_the_troubled_ones_come_first(clock: Clock):
    hosts = limiter(clock, burst=10)
    for number in range(300):
        await ask(hosts, f"https://{number}.example")
    hosts.failed("https://250.example", TransientError("x" * 1000, retry_after=30.0))
    hosts.refused("https://251.example", InvalidInputError(Reason.NOT_FOUND, "no such repo"))
    async with hosts.request("https://252.example", rank=0, patience=1):
        report = hosts.report(3)
    assert (report.worker_id, report.known, report.paused, len(report.hosts)) == (3, 300, 1, 200)
    paused, busy, wrong = report.hosts[:3]
    assert (paused.host, paused.state, paused.cause) == ("https://250.example", "paused", "retry_after")
    assert paused.errors == {"retry_after": 1}
    assert paused.last_error is not None
    assert len(paused.last_error) == 200
    assert (busy.host, busy.state, busy.running, busy.waiting) == ("https://252.example", "busy", 1, 0)
    assert (wrong.host, wrong.state, wrong.errors) == ("https://251.example", "idle", {"not_found": 1})
    assert len(report.model_dump_json()) < 200_000


async def test_why_a_host_is_left_alone_is_told(clock: Clock):
    hosts = limiter(clock, burst=10)
    hosts.answered(A, RateLimit(limit=100, remaining=5, reset_after=60.0))
    for _ in range(3):
        hosts.failed(B, TransientError("reset by peer"))
    told = {host.host: host for host in hosts.report(0).hosts}
    assert (told[A].cause, told[A].limit, told[A].remaining, told[A].errors) == ("rate_limit", 100, 5, {})
    assert (told[B].cause, told[B].failures_in_a_row, told[B].errors) == ("failures", 3, {"unreachable": 3})
    clock.now += 1000
    assert {host.state for host in hosts.report(0).hosts} == {"idle"}
