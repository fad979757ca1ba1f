"""Passing over what cannot be read, at a relay that is simulated naively: all else is read, and what is left out is
known to be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from firehose_backfill.gaps import Place, newer
from firehose_backfill.passing_over import PassingOver

Message = tuple[int, bool]
"""A seq, and whether it can be read."""


@st.composite
def relays(draw: st.DrawFn) -> list[Message]:
    """What a relay holds: seqs with jumps, some messages too large; the last one can be read."""
    seq, held = draw(st.integers(0, 3)), []
    for _ in range(draw(st.integers(1, 12))):
        seq += draw(st.integers(1, 3) | st.integers(1, 500))
        held.append((seq, draw(st.sampled_from((True, True, False)))))
    return [*held, (seq + draw(st.integers(1, 300)), True)]


@given(relays(), st.data())
def test_everything_else_is_read_and_what_is_left_out_lies_in_a_gap(held: list[Message], data: st.DataObject) -> None:
    passing, last, read, gaps, connections = PassingOver(), None, set[int](), list[tuple[int, int]](), 0
    while last is None or last.seq < held[-1][0]:
        connections += 1
        assert connections < 300, "it never gets past"
        cursor, leaves_out = passing.cursor(last) or 0, passing.passing
        if cursor > held[-1][0]:
            assert passing.too_far(), "a cursor of the future, and no other left"
            continue
        if cursor == held[-1][0]:
            held.append((cursor + 1, True))  # what it waits for
        came: list[int] = []
        # Connections also end by themselves, and then what was read is asked for again.
        most = data.draw(st.none() | st.integers(1, 5)) if connections < 10 else None
        ended = False
        for seq, readable in held:
            if seq > cursor and not ended and (most is None or len(came) < most):
                ended = not readable
                came += [seq] * readable
        if came and leaves_out:
            gaps.append((last.seq if last else 0, came[0]))
        read |= set(came)
        newest = newer(last, Place(came[-1], 0)) if came else last
        if came:
            passing.came(Place(came[0], 0))
        if ended:
            passing.ended(cursor, Place(came[-1], 0) if came else None, newest)
        last = newest
    for seq, readable in held:
        assert (readable and seq in read) or any(left < seq < right for left, right in gaps), seq


def test_a_relay_that_was_never_read_is_asked_at_its_head() -> None:
    passing = PassingOver()
    passing.ended(None, None, None)
    assert passing.cursor(None) is None
