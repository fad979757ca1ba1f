"""From which cursor a worker goes on, whatever the layout of workers was before."""

from __future__ import annotations

import pytest

from firehose_backfill.cursor import Cursor, CursorKey, parse_cursor_key
from firehose_backfill.gaps import Place
from firehose_backfill.start import Start, start

RELAY, OTHER = "relay.example:2470", "other.example"


def _saved(*cursors: tuple[int, int, int, int], relay: str = RELAY) -> dict[CursorKey, Cursor]:
    """Cursors of (worker count, worker id, seq, when it was saved); an event's time is its seq."""
    return {
        CursorKey(relay=relay, worker_count=count, worker_id=number): Cursor(seq=seq, at_us=seq, saved_at_us=saved)
        for count, number, seq, saved in cursors
    }


@pytest.mark.parametrize(
    ("saved", "count", "number", "seq"),
    [
        ([], 1, 0, None),
        ([(1, 0, 100, 1)], 1, 0, 100),
        # A new layout begins at the least of the one before.
        ([(1, 0, 100, 1)], 2, 1, 100),
        ([(2, 0, 300, 9), (2, 1, 200, 8)], 1, 0, 200),
        # Also when a former cursor of the same layout lies about, or another worker of it is ahead.
        ([(2, 0, 50, 1), (2, 1, 60, 1), (1, 0, 200, 5)], 2, 1, 200),
        ([(2, 0, 210, 6), (2, 1, 60, 1), (1, 0, 200, 5)], 2, 1, 200),
        ([(2, 0, 210, 6), (2, 1, 60, 1), (1, 0, 200, 5)], 2, 0, 210),
        # A worker that never saved left its part to the layout before.
        ([(1, 0, 100, 1), (2, 0, 300, 9)], 4, 3, 100),
        ([(1, 0, 100, 1), (2, 0, 300, 9), (2, 1, 290, 9)], 4, 3, 290),
        # Also where the layout before is its own, of which no other worker's part is its.
        ([(1, 0, 100, 1), (2, 0, 300, 9)], 1, 0, 100),
        ([(2, 0, 90, 2), (2, 1, 100, 2), (3, 0, 300, 9), (3, 2, 310, 9)], 2, 1, 100),
        # Where there is none before, nobody knows from here what it never did.
        ([(2, 0, 300, 9)], 1, 0, None),
        # Where the other workers of its own layout are says nothing of its own partitions.
        ([(2, 0, 210, 6)], 2, 1, None),
    ],
)
def test_start(saved: list[tuple[int, int, int, int]], count: int, number: int, seq: int | None) -> None:
    found = start(_saved(*saved), count, number)
    assert (None if found is None else found.place) == (None if seq is None else Place(seq, seq))


def test_the_relay_that_was_followed_last() -> None:
    saved = _saved((1, 0, 100, 1_000)) | _saved((1, 0, 7, 2_000), relay=OTHER)
    assert start(saved, 1, 0) == Start(OTHER, Place(7, 7), 7)


def test_another_workers_place_at_another_relay_is_nobody_elses() -> None:
    """Worker 0 has changed to another relay. Worker 1, far behind it, goes on where it was itself."""
    saved = _saved((2, 0, 900, 1_000), (2, 1, 100, 1_900)) | _saved((2, 0, 7, 2_000), relay=OTHER)
    assert start(saved, 2, 1) == Start(RELAY, Place(100, 100), 100)


def test_cursors_of_different_relays_have_only_time_in_common() -> None:
    saved = _saved((2, 1, 100, 1_900)) | _saved((2, 0, 500, 2_000), relay=OTHER)
    assert start(saved, 3, 2) == Start(OTHER, None, 100)


def test_no_event_was_seen_later_than_it_was_noted() -> None:
    """A host's clock that is a day ahead must not hide what is missed until then."""
    key = CursorKey(relay=RELAY, worker_count=1, worker_id=0)
    assert start({key: Cursor(seq=5, at_us=90_000, saved_at_us=1_000)}, 1, 0) == Start(RELAY, Place(5, 90_000), 1_000)


def test_keys_go_there_and_back() -> None:
    key = CursorKey(relay=RELAY, worker_count=4, worker_id=3)
    assert key.text == "live.relay/example=2470.4.3"
    assert parse_cursor_key(key.text) == key
    assert [parse_cursor_key(text) for text in ("replay.x.1.0", "live.x.1", "live.x.a.0")] == [None] * 3
