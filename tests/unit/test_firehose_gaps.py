"""What the first events of a connection say about what was missed."""

from __future__ import annotations

import pytest

from firehose_backfill.gaps import MARGIN, Continuity, Place, gap_before, rewound
from headwater.bus.firehose import GapKind

LAST = Place(1_000, 50_000_000_000)
HOUR = 3_600_000_000


def _seen(continuity: Continuity, *events: Place) -> list[GapKind | None]:
    found = []
    for event in events:
        if continuity.settled:
            break
        found.append(continuity.see(event))
    return found


@pytest.mark.parametrize(
    ("events", "kinds"),
    [
        # The overlap comes. Nothing is missing, though seqs and hours are skipped behind it.
        ([Place(990, 1), LAST, Place(9_000, LAST.at_us + 9 * HOUR)], [None, None]),
        # The last event itself was taken out of the window; others of the overlap are there.
        ([Place(990, 1), Place(9_000, LAST.at_us + HOUR)], [None, None]),
        # The overlap has gone, and the next event is the very next seq.
        ([Place(1_001, LAST.at_us + HOUR)], [None]),
        # The window was left behind, however short the time.
        ([Place(1_002, LAST.at_us + 1)], [GapKind.SEQ_JUMP]),
        ([Place(50_000, LAST.at_us + HOUR)], [GapKind.SEQ_JUMP]),
        # Seqs from before what was asked for, or another event at the same seq: the relay counts anew.
        ([Place(3, LAST.at_us + HOUR)], [GapKind.OTHER_SEQ_SPACE]),
        ([Place(950, 1), Place(1_000, LAST.at_us + 5)], [None, GapKind.OTHER_SEQ_SPACE]),
    ],
)
def test_at_the_same_relay(events: list[Place], kinds: list[GapKind | None]) -> None:
    continuity = Continuity(LAST, rewound(LAST))
    assert _seen(continuity, *events) == kinds
    assert continuity.settled


def test_outdated_cursor_counts_only_without_the_next_event() -> None:
    for event, kind in ((Place(1_001, 1), None), (Place(1_010, 1), GapKind.OUTDATED_CURSOR)):
        continuity = Continuity(LAST, rewound(LAST))
        continuity.outdated()
        assert continuity.see(event) is kind


def test_without_a_last_event() -> None:
    assert Continuity(None, None).see(Place(7, 1)) is None
    # Events were seen in other seqs, and these do not reach back to them.
    assert Continuity(None, 0, from_time=True).see(Place(7, HOUR + 1)) is GapKind.OTHER_SEQ_SPACE


def test_what_was_passed_over_is_a_gap_however_the_next_event_lies() -> None:
    for event in (Place(1_002, LAST.at_us), Place(50_000, LAST.at_us + HOUR)):
        assert Continuity(LAST, 1_001, passing=True).see(event) is GapKind.MESSAGE_TOO_LARGE


def test_what_is_asked_for_again() -> None:
    assert rewound(None) is None
    assert rewound(Place(1_000_000, 0)) == 1_000_000 - MARGIN
    assert [rewound(Place(seq, 0)) for seq in (0, 1, 50)] == [0, 0, 44]


def test_a_gap_begins_before_hosts_clocks_differ_and_has_one_id() -> None:
    now = LAST.at_us + HOUR
    first = Place(2_000, LAST.at_us + HOUR // 2)
    gaps = [gap_before(GapKind.SEQ_JUMP, "relay", 0, LAST, first, LAST.at_us, now + later) for later in (0, 5)]
    assert gaps[0].gap_id == gaps[1].gap_id
    assert (gaps[0].from_us, gaps[0].to_us) == (LAST.at_us - 60_000_000, first.at_us)
    assert (gaps[0].from_seq, gaps[0].to_seq) == (1_000, 2_000)
