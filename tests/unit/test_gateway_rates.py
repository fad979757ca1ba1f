"""Rates of what only grows, from looks that come at any time."""

from __future__ import annotations

from api_gateway.rates import Rates
from clock import Clock


def test_the_first_look_knows_no_rate_and_later_ones_the_growth_a_second() -> None:
    clock = Clock(100.0)
    rates = Rates(clock)
    assert rates.look({"a": 10}) == {}
    clock.now += 0.2
    assert rates.look({"a": 12}) == {}, "too soon to tell"
    clock.now += 1.8
    assert rates.look({"a": 30, "b": 5}) == {"a": 10.0}
    clock.now += 2
    assert rates.look({"a": 30, "b": 5}) == {"a": 5.0}


def test_what_begins_anew_and_what_is_long_ago_has_none() -> None:
    clock = Clock(100.0)
    rates = Rates(clock)
    rates.look({"a": 1000, "b": 0})
    clock.now += 2
    assert rates.look({"a": 3, "b": 4}) == {"b": 2.0}
    clock.now += 60
    assert rates.look({"a": 9, "b": 9}) == {}


def test_very_many_looks_are_not_kept() -> None:
    clock = Clock(100.0)
    rates = Rates(clock)
    for number in range(10_000):
        clock.now += 0.01
        rates.look({"a": number})
    assert len(rates._looks) <= 64
