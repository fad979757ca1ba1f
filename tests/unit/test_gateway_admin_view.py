"""What the operator's pages say of numbers and bytes, and what of a dead letter's bytes can be read; pure."""

from __future__ import annotations

import json

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.dead_letters.contents import read
from api_gateway.panel.admin_view import SAID, ago, hex_dump, lane_sums, rate, said_words, size
from api_gateway.stack_status import LaneStatus
from gateway_harness import worker
from headwater.cid import cid_of, cid_text


def test_numbers_have_the_unit_that_fits() -> None:
    assert [size(number) for number in (0, 1023, 1024, 15_000, 3_000_000_000)] == [
        "0 B",
        "1,023 B",
        "1.0 KiB",
        "15 KiB",
        "2.8 GiB",
    ]
    assert [rate(number) for number in (None, 0, 0.25, 12_345.6)] == ["", "0/s", "0.2/s", "12,346/s"]
    assert (ago(None, 5), ago(0, 90_000_000)) == ("", "1 min 30 s ago")


def test_bytes_are_dumped_with_their_letters() -> None:
    assert hex_dump(b"") == ""
    first, second = hex_dump(bytes(range(60, 80))).splitlines()
    assert first == "000000  3c 3d 3e 3f 40 41 42 43 44 45 46 47 48 49 4a 4b  <=>?@ABCDEFGHIJK"
    assert second.startswith("000010  4c 4d 4e 4f ")
    assert second.endswith("  LMNO")
    assert hex_dump(b"\x00\n\xff").endswith("  ...")


def test_lanes_are_added_up_over_their_partitions() -> None:
    parts = [
        LaneStatus(lane="live", partition=p, waiting=p, in_flight=1, redelivered=0, messages_per_second=0.5)
        for p in range(3)
    ]
    workers = [
        worker("indexer", number).model_copy(update={"figures": {"live_rows_per_second": 40.0}}) for number in (0, 1)
    ]
    empty = LaneStatus(lane="replay", partition=0, waiting=0, in_flight=0, redelivered=0)
    [live, replay] = lane_sums([*parts, empty], workers)
    assert (live.waiting, live.in_flight, live.rate, live.worst) == (3, 3, 1.5, "2 (2)")
    assert live.rows == 80
    assert (replay.rate, replay.rows, replay.worst) == (None, 0, "")


def test_a_page_says_only_what_is_ours_to_say() -> None:
    assert all((words := said_words(said)) is not None and words.what.endswith(".") for said in SAID)
    assert said_words("<script>") is None


def test_what_is_no_record_is_shown_as_what_it_is() -> None:
    cid = cid_of(b"x")
    value = {
        "f": 1.5,
        "b": b"\x01\x02",
        "link": cbor2.CBORTag(42, b"\x00" + cid),
        "tag": cbor2.CBORTag(42, b"\x01"),
        7: 2**60,
    }
    assert read(cbor2.dumps(value), "record") == (
        {
            "f": 1.5,
            "b": {"$bytes": "AQI"},
            "link": {"$link": cid_text(cid)},
            "tag": {"$tag": 42, "value": {"$bytes": "AQ"}},
            "7": str(2**60),
        },
        "cbor",
    )
    assert read(b'{"text": "of Postgres"}', "record") == ({"text": "of Postgres"}, "json")
    assert read(b"\x81\xa1a\x01", "message") == ({"a": 1}, "msgpack")
    assert read(b"", "record") == (None, None)


@pytest.mark.parametrize("kind", ["record", "message", "frame"])
@given(data=st.binary(max_size=400))
def test_any_bytes_give_what_json_can_say_or_nothing(kind: str, data: bytes) -> None:
    value, form = read(data, kind)
    assert (form is None) is (value is None) or value is None
    json.dumps(value, allow_nan=False)
