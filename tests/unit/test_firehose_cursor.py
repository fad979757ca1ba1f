"""From which cursor a worker goes on, whatever the layout of workers was before."""

from __future__ import annotations

import pytest

from firehose_backfill.cursor import Cursor, CursorKey, parse_cursor_key, start_cursor

RELAY = "relay.example:2470"


def _saved(*cursors: tuple[int, int, int, int]) -> dict[CursorKey, Cursor]:
    """Cursors of (worker count, worker id, seq, when it was saved)."""
    return {
        CursorKey(relay=RELAY, worker_count=count, worker_id=number): Cursor(seq=seq, at_us=seq, saved_at_us=saved)
        for count, number, seq, saved in cursors
    }


def _start(saved: dict[CursorKey, Cursor], count: int, number: int = 0, relay: str = RELAY) -> int | None:
    cursor = start_cursor(saved, CursorKey(relay=relay, worker_count=count, worker_id=number))
    return None if cursor is None else cursor.seq


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
        # A worker that is new in a layout of which others have begun.
        ([(2, 0, 210, 6)], 2, 1, 210),
    ],
)
def test_start(saved: list[tuple[int, int, int, int]], count: int, number: int, seq: int | None) -> None:
    assert _start(_saved(*saved), count, number) == seq


def test_each_relay_has_its_own() -> None:
    assert _start(_saved((1, 0, 100, 1)), 1, relay="other.example") is None


def test_keys_go_there_and_back() -> None:
    key = CursorKey(relay=RELAY, worker_count=4, worker_id=3)
    assert key.text == "live.relay/example=2470.4.3"
    assert parse_cursor_key(key.text) == key
    assert [parse_cursor_key(text) for text in ("replay.x.1.0", "live.x.1", "live.x.a.0")] == [None] * 3
