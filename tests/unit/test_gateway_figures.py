"""The figures of a page: bars, ages, and a record in a line."""

from __future__ import annotations

from api_gateway.panel.figures_view import CHART_HEIGHT, MONTHS_SHOWN, chart, sync_words, text_of
from headwater.bus.queries import AccountSettings, MonthCount
from headwater.bus.records import StoredRecord
from headwater.tid import tid_from


def month(name: str, records: int) -> MonthCount:
    return MonthCount(month=name, records=records)


def test_a_chart_has_a_bar_for_every_month_between() -> None:
    drawn = chart([month("2023-11", 1), month("2024-02", 600)])
    assert drawn is not None
    assert [bar.said for bar in drawn.bars] == ["2023-11: 1", "2023-12: 0", "2024-01: 0", "2024-02: 600"]
    assert [bar.height for bar in drawn.bars] == [1, 0, 0, CHART_HEIGHT]
    assert (drawn.first, drawn.last, drawn.most, drawn.width) == ("2023-11", "2024-02", 600, 40)


def test_a_chart_is_bounded_and_there_is_none_of_nothing() -> None:
    drawn = chart([month("0001-01", 9), month("2024-02", 3)])
    assert drawn is not None
    assert (len(drawn.bars), drawn.most) == (MONTHS_SHOWN, 3)
    assert chart([]) is None


def test_the_state_of_a_repo_in_words() -> None:
    known = AccountSettings(did="did:web:a", rev=tid_from(1_700_000_000_000_000), sync_state="synchronized")
    now = 1_700_000_000_000_000 + 2 * 3_600_000_000
    assert "2 hours old" in sync_words(known, now)
    assert sync_words(known, now).startswith("In step")
    assert "fetched again" in sync_words(known.model_copy(update={"sync_state": "desynchronized"}), now)
    assert "all time" in sync_words(known.model_copy(update={"incomplete": True}), now)
    assert "opted out" in sync_words(known.model_copy(update={"opted_out": True}), now)
    assert "not follow" in sync_words(AccountSettings(did="did:web:a"), now)


def test_a_record_in_a_line() -> None:
    def said(value: str | None) -> str:
        return text_of(StoredRecord("a.b.c", "k", "c", "r", 0, value))

    assert said('{"text": "hi", "name": "n"}') == "hi"
    assert said('{"text": 5, "subject": {"uri": "at://x"}}') == "at://x"
    assert said('{"subject": "did:web:a"}') == "did:web:a"
    assert said("[]") == said("{}") == said(None) == said('{"subject": {"uri": 5}}') == ""
