from __future__ import annotations

import base64
import json
from typing import Any

import cbor2
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.dagcbor import check_heads
from headwater.errors import InvalidInputError
from headwater.record import DecodedRecords, decode_record, decode_usual_records

Value = Any

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ["\\u0000", "\\\\u0000", "\0", "$type", "$link", "$bytes", "createdAt", "subject", "\x1bé", ";é"]
)
CIDS = st.tuples(st.sampled_from([b"\x01\x55\x12\x20", b"\x01\x71\x12\x20"]), st.binary(min_size=32, max_size=32)).map(
    lambda parts: cbor2.CBORTag(42, b"\0" + parts[0] + parts[1])
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.sampled_from([0, 23, 24, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32])
    | TEXTS
    | st.binary(max_size=60)
    | CIDS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5), max_leaves=30
)
RECORDS = st.dictionaries(TEXTS, VALUES, max_size=8)


def _plain(value: Value) -> Value:
    """The JSON form by the book, one rule after the other."""
    if isinstance(value, cbor2.CBORTag):
        return {"$link": "b" + base64.b32encode(value.value[1:]).decode().lower().rstrip("=")}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode().rstrip("=")}
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        in_order = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return {_plain(key): _plain(value[key]) for key in in_order}
    return value


def _is_inexact(value: Value) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, list):
        return any(map(_is_inexact, value))
    if isinstance(value, dict):
        return bool({"$link", "$bytes"} & value.keys()) or any(map(_is_inexact, [*value, *value.values()]))
    return False


@settings(deadline=None)
@given(RECORDS)
def test_every_record_comes_out_as_its_json_form(value: dict[str, Value]) -> None:
    block = cbor2.dumps(value, canonical=True)
    record = decode_record(block)
    assert json.loads(record.json) == _plain(value)
    assert "\0" not in record.json
    assert record.raw == (block if _is_inexact(value) else None)


@settings(deadline=None)
@given(RECORDS)
def test_the_check_for_long_records_refuses_no_honest_one(value: dict[str, Value]) -> None:
    check_heads(cbor2.dumps(value, canonical=True))


@settings(deadline=None)
@given(RECORDS, st.data())
def test_a_damaged_record_is_refused_or_read_never_a_crash(value: dict[str, Value], data: st.DataObject) -> None:
    block = bytearray(cbor2.dumps(value, canonical=True))
    for _ in range(data.draw(st.integers(1, 4))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    try:
        record = decode_record(bytes(block))
    except InvalidInputError:
        return
    assert isinstance(json.loads(record.json), dict)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_refused_or_read_never_a_crash(block: bytes) -> None:
    try:
        record = decode_record(block)
    except InvalidInputError:
        return
    assert isinstance(json.loads(record.json), dict)


def _one_by_one(blocks: list[bytes]) -> DecodedRecords:
    records = [decode_record(block) for block in blocks]
    assert all(record.raw is None for record in records)
    json_texts = [record.json for record in records]
    size = len("\n".join([*json_texts, ""]).encode())
    times = [record.created_at_us for record in records]
    return DecodedRecords(json_texts, times, [record.subject for record in records], size)


def _same(found: DecodedRecords, expected: DecodedRecords) -> bool:
    return found[:3] == expected[:3] and expected.size <= found.size <= expected.size + 3 * len(found.json) + 2


@settings(deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=8), st.data())
def test_many_records_at_once_come_out_as_one_by_one(values: list[dict[str, Value]], data: st.DataObject) -> None:
    blocks = [cbor2.dumps(value, canonical=True) for value in values]
    if data.draw(st.booleans(), "damaged"):
        # Also with what decodes all the same, longer than it has to be, or in two blocks together.
        place = data.draw(st.integers(0, len(blocks) - 1))
        cut = data.draw(st.integers(0, len(blocks[place])))
        left, right = blocks[place][:cut], blocks[place][cut:]
        blocks[place : place + 1] = data.draw(
            st.sampled_from([[left + b"\0" + right], [left, right], [left, b"", right]])
        )
    found = decode_usual_records(blocks)
    assert found is None or _same(found, _one_by_one(blocks))


def test_usual_records_are_decoded_at_once() -> None:
    cid = cbor2.CBORTag(42, b"\0\x01\x55\x12\x20" + bytes(32))
    values: list[Value] = [
        {"$type": "app.bsky.feed.post", "text": "line\nend ,\n, \\u", "createdAt": "2024-01-01T00:00:00.000Z"},
        {"subject": {"uri": "at://did:plc:x/app.bsky.feed.post/3k"}, "createdAt": "now"},
        {"image": {"ref": cid}, "facets": [{"features": [{"tag": "é"}]}] * 40, "bytes": b"\0"},
    ]
    blocks = [cbor2.dumps(value, canonical=True) for value in values] * 20
    found = decode_usual_records(blocks)
    assert found is not None
    assert _same(found, _one_by_one(blocks))


def test_what_is_not_usual_is_left_to_decode_record() -> None:
    usual = cbor2.dumps({"text": "x"}, canonical=True)
    deep: Value = []
    for _ in range(130):
        deep = [deep]
    values: list[Value] = [{"a": deep}, {"a": 1 << 63}, {"a": 0.1}, {"a": "\0"}, {"$link": "x"}, []]
    for value in values:
        assert decode_usual_records([usual, cbor2.dumps(value, canonical=True), usual]) is None, value
    assert decode_usual_records([usual, b"\xa1\x61a\x18\x01", usual]) is None  # 1 in two bytes


def test_hashes_that_look_like_floats_and_large_integers_are_usual_and_such_numbers_beside_them_are_not() -> None:
    link_head = b"\x01\x55\x12\x20"
    cid = cbor2.CBORTag(42, b"\0" + link_head + b"\x1b\xfb\xff" * 10 + b"\xfb\xfb")
    usual: Value = {"image": cid, "long": "x" * 1_200, "tail": b"\xfb\x1b\x80"}
    blocks = [cbor2.dumps(value, canonical=True) for value in (usual, {"text": "x"})]
    found = decode_usual_records(blocks)
    assert found is not None
    assert _same(found, _one_by_one(blocks))
    # The head of a link in a byte string swallows nothing of what stands behind it.
    swallowing = b"\xd8\x2a\x58\x25\x00" + link_head
    for number in (0.1, 1 << 63):
        for value in ({"image": cid, "n": number}, {"a": cid, "b": [swallowing, number, cid]}):
            assert decode_usual_records([*blocks, cbor2.dumps(value, canonical=True)]) is None, value
