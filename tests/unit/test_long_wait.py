"""A wait is told of when it is long, not again and again, and neither is its end forgotten."""

from __future__ import annotations

import logging

import pytest

from clock import Clock
from headwater.long_wait import LongWait


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wait(clock: Clock, caplog: pytest.LogCaptureFixture) -> LongWait:
    caplog.set_level("INFO")
    return LongWait(logging.getLogger("test"), "records", clock)


def test_a_short_wait_is_nobodys_business(wait: LongWait, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        wait.because("stream full")
        clock.now += 4.0
    wait.over()
    assert caplog.messages == []


def test_a_long_one_is_told_of_once_a_minute(wait: LongWait, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(101):
        wait.because("stream full")
        clock.now += 1.0
    wait.over()
    assert caplog.messages == [
        "records: waiting for 10 s: stream full",
        "records: waiting for 70 s: stream full",
        "records: goes on after 101 s",
    ]


def test_whoever_gets_on_now_and_then_does_not_wait(
    wait: LongWait, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10):
        wait.because("stream full")
        clock.now += 9.0
        wait.because("stream full")
        wait.over()
    assert caplog.messages == []


def test_a_wait_that_was_given_up_is_not_counted_on(
    wait: LongWait, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    wait.because("stream full")
    clock.now += 3600.0
    wait.because("stream full")
    assert caplog.messages == []
