"""Records as users get them."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.record_format import csv_header, csv_lines, cursor_of, instant, json_lines, parse_cursor
from headwater.bus.records import Place, RecordsPage, StoredRecord, decode_page, encode_page
from headwater.errors import InvalidInputError, InvariantError

DID = "did:web:a.example"


def stored(value: object, rkey: str = "k") -> StoredRecord:
    return StoredRecord("a.b.c", rkey, "cid", "rev", 1_500_000, json.dumps(value))


@given(st.dictionaries(st.text(), st.text() | st.integers(-(2**63), 2**63 - 1) | st.lists(st.text())))
def test_both_formats_give_the_value_back(value: dict[str, object]) -> None:
    records = [stored(value), stored(value, "l")]
    lines = [json.loads(line) for line in json_lines(DID, records).splitlines()]
    assert [line["record"] for line in lines] == [value, value]
    table = (csv_header() + csv_lines(DID, records)).decode()
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert [json.loads(row["record"]) for row in rows] == [value, value]
    assert [row["uri"] for row in rows] == [line["uri"] for line in lines] == [f"at://{DID}/a.b.c/{k}" for k in "kl"]


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (-62_135_596_800_000_000, "0001-01-01T00:00:00.000000Z"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_times_of_every_year_that_a_record_can_have(micros: int, text: str) -> None:
    assert instant(micros) == text


@given(st.from_regex(r"[A-Za-z0-9._~:-]{3,20}", fullmatch=True), st.integers(-(2**56), 2**56))
def test_cursors_come_back_as_they_were(rkey: str, micros: int) -> None:
    place = parse_cursor(cursor_of(Place("a.b.c", rkey, micros)))
    assert (place.collection, place.rkey, place.created_at_us) == ("a.b.c", rkey, micros)


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{0,40}", fullmatch=True))
def test_no_text_is_a_cursor_by_accident(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_cursor(text)


def test_no_cell_is_a_formula_and_the_uri_has_the_key_as_it_is() -> None:
    table = csv_lines(DID, [stored({"text": "=1+1"}, "-2-3")]).decode()
    (row,) = csv.reader(io.StringIO(table, newline=""))
    assert row[0] == f"at://{DID}/a.b.c/-2-3"
    assert row[3] == "'-2-3"
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


def test_pages_travel_whole_and_malformed_ones_are_ours() -> None:
    page = RecordsPage([stored({"a": 1})], Place("a.b.c", "k", 5))
    assert decode_page(encode_page(page)) == page
    assert decode_page(encode_page(page.without_values())).records[0].record is None
    with pytest.raises(InvariantError):
        decode_page(b"{}")
