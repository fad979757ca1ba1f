"""Who is sent away comes again when it may be his turn: neither in vain nor late."""

from __future__ import annotations

from repo_backfill.host_pace import HostPace


def test_a_fast_host_is_asked_again_soon() -> None:
    pace = HostPace(4)
    for number in range(20):
        pace.began(float(number))
        pace.ended(float(number), number + 0.04)
    assert [pace.come_again(20.0, 0.0) for _ in range(3)] == [1.0] * 3, "a hundred a second: all of them in a second"


def test_a_host_whose_tokens_are_used_up_is_asked_at_its_rate() -> None:
    pace = HostPace(4)
    assert [pace.come_again(100.0, 8.0) for _ in range(3)] == [8.0, 16.0, 24.0]
    assert pace.come_again(108.0, 8.0) == 24.0, "time has gone by"
    assert pace.come_again(1000.0, 8.0) == 8.0, "those are long served"


def test_what_is_under_way_for_long_tells_of_a_slow_host_before_it_ends() -> None:
    pace = HostPace(2)
    pace.began(0.0)
    assert [pace.come_again(100.0, 0.0) for _ in range(2)] == [50.0, 100.0]
    pace.ended(0.0, 100.0)
    assert pace.come_again(1000.0, 0.0) == 15.0, "one slow answer is not the measure of all"


def test_nobody_is_sent_away_for_longer_than_two_minutes() -> None:
    pace = HostPace(1)
    pace.began(0.0)
    assert [pace.come_again(3600.0, 0.0) for _ in range(3)] == [120.0] * 3
