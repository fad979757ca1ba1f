"""The bisection of a relay's window against a look at every event of it."""

from __future__ import annotations

import math

from hypothesis import assume, given
from hypothesis import strategies as st

from firehose_backfill.bisection import NEAR_US, Bisection
from firehose_backfill.gaps import Place


@st.composite
def windows(draw: st.DrawFn) -> list[Place]:
    """A relay's events: seqs with jumps, times that never go back and stand still now and then."""
    seq, at_us, window = draw(st.integers(0, 10**9)), draw(st.integers(1, 10**15)), []
    for _ in range(draw(st.integers(0, 60))):
        seq += draw(st.integers(1, 5) | st.integers(1, 10**6))
        at_us += draw(st.integers(0, 3) | st.integers(0, 4 * NEAR_US))
        window.append(Place(seq, at_us))
    return window


def first_behind(window: list[Place], cursor: int) -> Place | None:
    return next((event for event in window if event.seq > cursor), None)


def search(search: Bisection, window: list[Place], lost: int = 0) -> int:
    """Run a search in which the window loses its ``lost`` oldest events behind every answer; how often it asked."""
    asked = 0
    while search.cursor is not None:
        search.see(first_behind(window, search.cursor))
        window = window[lost:]
        asked += 1
        assert asked < 200
    return asked


@given(window=windows(), ahead=st.integers(-NEAR_US, 300 * NEAR_US), has_end=st.booleans())
def test_everything_that_is_wanted_lies_behind_the_event(window: list[Place], ahead: int, has_end: bool) -> None:
    assume(window)
    wanted_us = window[0].at_us + ahead
    found = Bisection(wanted_us, window[-1].seq if has_end else None)
    asked = search(found, window)
    older = [event for event in window if event.at_us < wanted_us]
    assert (found.older is None) == (not older), "only a window that begins too late has none"
    if found.older is None:
        return
    assert found.older in older
    span = window[-1].seq - window[0].seq
    assert asked <= (2 if has_end else 5) + (1 if has_end else 2) * math.log2(span + 1), "a handful of connections"
    if older[-1] != window[-1]:
        assert found.older == older[-1] or wanted_us - found.older.at_us <= NEAR_US, "and near it"


@given(window=windows(), lost=st.integers(1, 5), ahead=st.integers(0, 100 * NEAR_US))
def test_a_window_that_moves_on_ends_the_search_too(window: list[Place], lost: int, ahead: int) -> None:
    assume(window)
    wanted_us = window[0].at_us + ahead
    found = Bisection(wanted_us, window[-1].seq)
    search(found, window, lost)
    assert found.older is None or found.older.at_us < wanted_us, "never too late, at worst gone meanwhile"


@given(window=windows(), data=st.data(), ahead=st.integers(-NEAR_US, 300 * NEAR_US), has_end=st.booleans())
def test_what_a_host_held_back_misleads_nobody(
    window: list[Place], data: st.DataObject, ahead: int, has_end: bool
) -> None:
    """Some events have the time of long ago, but never all of those that are looked at together."""
    assume(len(window) > 4)
    wanted_us = window[0].at_us + ahead
    late = data.draw(st.sets(st.sampled_from(range(0, len(window) - 1, 3)), max_size=10))
    told = [Place(event.seq, 1) if index in late else event for index, event in enumerate(window)]
    found = Bisection(wanted_us, window[-1].seq if has_end else None)
    asked = 0
    while found.cursor is not None and asked < 200:
        behind = [event for event in told if event.seq > found.cursor][:3]
        found.see(behind[0] if behind else None, max((event.at_us for event in behind), default=0))
        asked += 1
    assert asked < 200
    if found.older is not None:
        where = next(index for index, event in enumerate(window) if event.seq == found.older.seq)
        assert window[where].at_us < wanted_us, "everything that is wanted lies behind it"


def test_an_empty_window_has_nothing() -> None:
    found = Bisection(1, None)
    search(found, [])
    assert found.older is None
