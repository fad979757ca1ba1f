from __future__ import annotations

import base64
import hashlib
import json
import tracemalloc
from typing import Any

import cbor2
import pytest

from headwater.atjson import MAX_DEPTH, MAX_RECORD_BYTES
from headwater.errors import InvalidInputError, Reason
from headwater.record import decode_record, decode_usual_records

CID = b"\x01\x71\x12\x20" + hashlib.sha256(b"").digest()
CID_TEXT = "b" + base64.b32encode(CID).decode().lower().rstrip("=")


def _refusal(block: bytes) -> Reason | None:
    try:
        decode_record(block)
    except InvalidInputError as error:
        return error.reason
    return None


def _value(block: bytes) -> Any:
    return json.loads(decode_record(block).json)


def _record(**fields: object) -> bytes:
    return cbor2.dumps(fields, canonical=True)


def test_a_record_carries_its_time_and_its_subject() -> None:
    record = decode_record(_record(subject={"uri": "at://x", "cid": "bafy"}, createdAt="2023-06-01T00:00:00.000Z"))
    assert json.loads(record.json) == {
        "subject": {"uri": "at://x", "cid": "bafy"},
        "createdAt": "2023-06-01T00:00:00.000Z",
    }
    assert record.created_at_us == 1_685_577_600_000_000
    assert record.subject == "at://x"
    assert record.raw is None


@pytest.mark.parametrize("created_at", [None, 7, True, [], {}, "now", ["2023-06-01T00:00:00.000Z"]])
def test_a_record_without_a_valid_created_at_has_no_time(created_at: object) -> None:
    assert decode_record(_record(createdAt=created_at)).created_at_us is None


@pytest.mark.parametrize("number", [0, -1, (1 << 53) + 1, (1 << 63) - 1, -(1 << 63)])
def test_integers_of_64_bits_are_kept_to_the_last_digit(number: int) -> None:
    assert _value(_record(a=number)) == {"a": number}


@pytest.mark.parametrize("number", [1 << 63, (1 << 64) - 1, -(1 << 63) - 1, -(1 << 64)])
def test_larger_integers_are_refused_wherever_they_are(number: int) -> None:
    assert _refusal(_record(a=number)) is Reason.RECORD_INTEGER
    assert _refusal(_record(a=[{"b": number}])) is Reason.RECORD_INTEGER


def test_texts_that_look_like_large_integers_are_kept() -> None:
    value = {"a": "é" * 13 + "x", "b": "\x1bé;é", "c": ";à"}
    assert _value(_record(**value)) == value


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\xa1",
        b"\xa1\x61a",
        b"\xa1\x61a\x18\x01",  # 1 in two bytes
        b"\xa1\x61a\x78\x01x",  # a length in two bytes
        b"\xa1\x61a\xf7",  # undefined
        b"\xa1\x61a\x1c",  # reserved additional information
        b"\xa1\x61a\xff",  # a break of nothing
        b"\xbf\x61a\x01\xff",
        b"\xa1\x61a\x9f\x01\xff",
        b"\xa1\x41a\x01",  # a byte string as key
        b"\xa1\x61a\xd9\xd9\xf7\x01",  # self-described CBOR
        b"\xa1\x61a\xc2\x41\x01",  # a bignum
        b"\xa1\x61a\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xa1\x61a\x7b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xa2\x61b\x01\x61a\x02",
        b"\xa2\x61a\x01\x61a\x02",
        b"\xa1\x61a\x01\x00",
        b"\xa1\x61\xff\x01",
        b"\xa1\x61a\x63\xed\xa0\x80",
    ],
)
def test_malformed_and_not_canonical_cbor_is_refused(block: bytes) -> None:
    assert _refusal(block) is Reason.RECORD_CBOR


@pytest.mark.parametrize("value", [1, "a", None, [], [{}], b"a", True, cbor2.CBORTag(42, b"\0" + CID)])
def test_only_a_map_is_a_record(value: object) -> None:
    assert _refusal(cbor2.dumps(value, canonical=True)) is Reason.RECORD_NOT_MAP


def _nested(levels: int, head: bytes) -> bytes:
    """A record of that many containers, itself included, one in the other."""
    return b"\xa1\x61a" + head * (levels - 2) + b"\x80"


@pytest.mark.parametrize("head", [b"\x81", b"\xa1\x61a"])
def test_nesting_is_bounded(head: bytes) -> None:
    assert _refusal(_nested(MAX_DEPTH, head)) is None
    assert _refusal(_nested(MAX_DEPTH + 1, head)) is Reason.RECORD_TOO_DEEP
    assert _refusal(_nested(300_000, head)) is Reason.RECORD_TOO_DEEP


@pytest.mark.parametrize("neighbours", [0, 1, 49])
def test_nesting_is_bounded_among_neighbours(neighbours: int) -> None:
    around = [cbor2.dumps({"a": 1})] * neighbours
    assert decode_usual_records([*around, _nested(MAX_DEPTH, b"\x81")]) is not None
    assert decode_usual_records([*around, _nested(MAX_DEPTH + 1, b"\x81")]) is None


def test_depth_behind_siblings_is_found_and_width_is_no_depth() -> None:
    # The map among the siblings is three containers deep, so the innermost list has three more below it.
    siblings: list[object] = [1, "text" * 40, b"bytes", [], {}, {"a": [1, [2]]}, -5, None, 70_000]
    deep: list[object] = []
    for _ in range(MAX_DEPTH - 4):
        deep = [*siblings, deep]
    assert _refusal(_record(a=deep)) is None
    assert _refusal(_record(a=[*siblings, deep])) is Reason.RECORD_TOO_DEEP
    assert _refusal(_record(a=[[]] * 10_000, b=[siblings] * 500, c="あ" * 1_000)) is None


@pytest.mark.parametrize(
    ("bomb", "reason"),
    [
        # Each array claims nearly a million items: too many of them, or just few enough.
        (b"\xa1\x61a" + b"\x9a\x00\x0e\x00\x00" * 190_000, Reason.RECORD_CBOR),
        (b"\xa1\x61a" + b"\x9a\x00\x0e\x00\x00" * 120 + b"\x80" * 950_000, Reason.RECORD_CBOR),
        (b"\xa1\x61a" + b"\x9a\x00\x0e\x00\x00" * 120 + b"\x7a\x00\x0e\x00\x00" + b"a" * 930_000, Reason.RECORD_CBOR),
        (b"\xa1\x61a" + b"\xba\x00\x08\x00\x00\x61a" * 120 + b"a" * 600_000, Reason.RECORD_CBOR),
    ],
)
def test_containers_that_claim_more_than_they_hold_cost_no_memory(bomb: bytes, reason: Reason) -> None:
    tracemalloc.start()
    try:
        assert _refusal(bomb) is reason
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


def test_a_long_honest_record_passes() -> None:
    value: dict[str, Any] = {
        "a": [{"n": -number, "t": "x" * (number % 300), "e": [], "m": {}, "f": None} for number in range(3_000)]
    }
    block = _record(**value)
    assert len(block) > 300_000
    assert _value(block) == value


@pytest.mark.parametrize("cut", [1, 2, 20, 20_000])
def test_a_long_record_cut_short_is_refused(cut: int) -> None:
    block = _record(a=["text" * 10] * 1_000, b=cbor2.CBORTag(42, b"\0" + CID))
    assert _refusal(block) is None
    assert _refusal(block[:-cut]) is Reason.RECORD_CBOR
    assert _refusal(block + b"\0" * cut) is Reason.RECORD_CBOR


def test_sizes_are_bounded_in_cbor_and_in_json() -> None:
    text = "a" * (MAX_RECORD_BYTES - 8)
    assert len(_record(a=text)) == MAX_RECORD_BYTES
    assert _refusal(_record(a=text)) is None
    assert _refusal(_record(a=text + "a")) is Reason.RECORD_TOO_LARGE
    # An empty byte string is 1 byte of CBOR and 13 of JSON.
    assert _refusal(_record(a=[b""] * 500_000)) is Reason.RECORD_TOO_LARGE


def test_links_and_bytes_take_the_form_of_the_data_model() -> None:
    block = cbor2.dumps({"a": cbor2.CBORTag(42, b"\0" + CID), "b": [b"\xff\xfe\xfd\xfc", b""]}, canonical=True)
    assert _value(block) == {"a": {"$link": CID_TEXT}, "b": [{"$bytes": "//79/A"}, {"$bytes": ""}]}


@pytest.mark.parametrize(
    "cid",
    [
        b"",
        CID,
        b"\0",
        b"\0\x12\x20" + bytes(32),  # a CIDv0
        b"\0" + CID[:-1],
        b"\0" + CID + b"\0",
        b"\0\x02" + CID[1:],
    ],
)
def test_a_tag_42_without_a_cid_is_refused(cid: bytes) -> None:
    block = cbor2.dumps({"a": cbor2.CBORTag(42, b"\0" + CID), "b": cbor2.CBORTag(42, cid)}, canonical=True)
    assert _refusal(block) is Reason.RECORD_CBOR


def test_a_cid_with_another_hash_is_kept() -> None:
    sha512 = b"\x01\x55\x13\x40" + bytes(64)
    block = cbor2.dumps({"a": cbor2.CBORTag(42, b"\0" + sha512)}, canonical=True)
    assert _value(block) == {"a": {"$link": "b" + base64.b32encode(sha512).decode().lower().rstrip("=")}}


@pytest.mark.parametrize("key", ["$link", "$bytes"])
@pytest.mark.parametrize("value", ["x", CID_TEXT, 7, None, [], {"$link": "x"}])
def test_a_map_that_looks_like_a_link_is_kept_with_its_block(key: str, value: object) -> None:
    block = cbor2.dumps(
        {"a": {key: value, "other": 1}, "b": cbor2.CBORTag(42, b"\0" + CID), "c": b"\xff"}, canonical=True
    )
    record = decode_record(block)
    assert json.loads(record.json) == {
        "a": {key: value, "other": 1},
        "b": {"$link": CID_TEXT},
        "c": {"$bytes": "/w"},
    }
    assert record.raw == block


def test_such_a_map_excuses_nothing_else() -> None:
    assert _refusal(_record(a={"$link": "x"}, b=0.1)) is Reason.RECORD_FLOAT
    assert _refusal(_record(a={"$link": "x"}, b=1 << 63)) is Reason.RECORD_INTEGER
    assert _refusal(_record(a={"$link": "x"}) + b"\0") is Reason.RECORD_CBOR


def test_nul_is_replaced_in_values_and_keys_and_the_block_is_kept() -> None:
    block = _record(**{"a\0": ["x\0y", {"k\0": "z"}], "b": 0})
    record = decode_record(block)
    assert json.loads(record.json) == {"a\ufffd": ["x\ufffdy", {"k\ufffd": "z"}], "b": 0}
    assert "\\u0000" not in record.json
    assert record.raw == block


def test_the_text_backslash_u0000_is_no_nul() -> None:
    value = {"a": "\\u0000", "\\u0000": "\\\\u0000"}
    record = decode_record(_record(**value))
    assert json.loads(record.json) == value
    assert record.raw is None


def test_both_kinds_in_one_record_are_told_apart() -> None:
    block = _record(a="\\u0000", b="\0")
    record = decode_record(block)
    assert json.loads(record.json) == {"a": "\\u0000", "b": "\ufffd"}
    assert record.raw == block
