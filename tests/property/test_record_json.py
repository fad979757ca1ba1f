from __future__ import annotations

import base64
import json
from typing import Any

import cbor2
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.dagcbor import check_heads
from headwater.errors import InvalidInputError
from headwater.record import decode_record

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
