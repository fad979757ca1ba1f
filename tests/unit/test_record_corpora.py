"""Record decoding against inputs that others made: hostile cases, interop fixtures, real repos."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest

from headwater.errors import InvalidInputError, Reason
from headwater.record import decode_record

SHARED = Path(__file__).parents[3] / "shared" / "data"

# The hostile records: accepted, or refused for which reason.
HOSTILE: dict[str, Reason | None] = {
    "record-type-mismatch": None,
    "record-no-type": None,
    "record-not-a-map": Reason.RECORD_NOT_MAP,
    "record-float": Reason.RECORD_FLOAT,
    "record-nan": Reason.RECORD_FLOAT,
    "record-bigint": Reason.RECORD_INTEGER,
    "record-bignum-tag": Reason.RECORD_CBOR,
    "record-tag-0": Reason.RECORD_CBOR,
    "record-indefinite-string": Reason.RECORD_CBOR,
    "record-duplicate-keys": Reason.RECORD_CBOR,
    "record-unsorted-keys": Reason.RECORD_CBOR,
    "record-int-key": Reason.RECORD_CBOR,
    "record-non-minimal-int": Reason.RECORD_CBOR,
    "record-bad-utf8": Reason.RECORD_CBOR,
    "record-lone-surrogate": Reason.RECORD_CBOR,
    "record-array-length-bomb": Reason.RECORD_CBOR,
    "record-bytes-length-bomb": Reason.RECORD_CBOR,
    "record-nested-200": Reason.RECORD_TOO_DEEP,
    "record-nested-2000": Reason.RECORD_TOO_DEEP,
    "record-nested-100000": Reason.RECORD_TOO_DEEP,
    "record-trailing-bytes": Reason.RECORD_CBOR,
    "record-1mb-text": Reason.RECORD_TOO_LARGE,
    "record-nul-text": None,
    "record-bidi-text": None,
    "record-zalgo": None,
    "record-html": None,
    "record-facet-out-of-range": None,
    "record-facet-splits-codepoint": None,
    "record-createdat-0": None,
    "record-createdat-1": None,
    "record-createdat-2": None,
    "record-createdat-3": None,
    "record-createdat-4": None,
    "record-createdat-5": None,
    "record-createdat-6": None,
    "record-createdat-7": None,
    "record-createdat-int": None,
    "record-self-reply": None,
    "record-mutual-reply": None,
    "record-aturi-bogus": None,
    "record-legacy-blob": None,
}


def _refusal(block: bytes) -> Reason | None:
    try:
        decode_record(block)
    except InvalidInputError as error:
        return error.reason
    return None


def _uvarint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, at


def _blocks(car: Path) -> list[bytes]:
    data = car.read_bytes()
    length, at = _uvarint(data, 0)
    at += length
    blocks = []
    while at < len(data):
        length, at = _uvarint(data, at)
        blocks.append(data[at + 36 : at + length])
        at += length
    return blocks


def _hostile_block(name: str) -> bytes:
    """The hostile record in a CAR of these cases: the last block but one, before an ordinary record."""
    return _blocks(SHARED / "hostile" / f"{name}.car")[-2]


def _plain(value: Any) -> Any:
    """The JSON form of what another decoder read."""
    if isinstance(value, cbor2.CBORTag):
        return {"$link": "b" + base64.b32encode(value.value[1:]).decode().lower().rstrip("=")}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode().rstrip("=")}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


@pytest.fixture
def hostile() -> dict[str, str]:
    index = SHARED / "hostile" / "index.json"
    if not index.exists():
        pytest.skip("the hostile inputs are not here")
    cases = json.loads(index.read_text())["cases"]
    return {case["file"].removesuffix(".car"): case["expect"] for case in cases if case["layer"] == "record"}


def test_hostile_records_are_accepted_or_refused_for_the_right_reason(hostile: dict[str, str]) -> None:
    assert set(hostile) == set(HOSTILE)
    verdicts = {name: _refusal(_hostile_block(name)) for name in HOSTILE}
    assert verdicts == HOSTILE
    assert {name for name, expect in hostile.items() if expect == "reject-record" and verdicts[name] is None} == set()
    assert {name for name, expect in hostile.items() if expect == "accept" and verdicts[name] is not None} == set()


@pytest.mark.parametrize(
    ("number", "dated"),
    [(0, False), (1, True), (2, False), (3, False), (4, False), (5, False), (6, True), (7, False), ("int", False)],
)
def test_hostile_created_ats_date_a_record_only_if_they_name_a_moment(
    hostile: dict[str, str], number: int | str, dated: bool
) -> None:
    assert hostile
    record = decode_record(_hostile_block(f"record-createdat-{number}"))
    assert (record.created_at_us is not None) == dated


def test_the_interop_fixtures_come_out_as_their_json() -> None:
    path = SHARED / "interop" / "data-model" / "data-model-fixtures.json"
    if not path.exists():
        pytest.skip("the interop fixtures are not here")
    fixtures = json.loads(path.read_text(encoding="utf-8"))
    assert fixtures
    for fixture in fixtures:
        block = base64.b64decode(fixture["cbor_base64"] + "==")
        cid = b"\x01\x71\x12\x20" + hashlib.sha256(block).digest()
        assert "b" + base64.b32encode(cid).decode().lower().rstrip("=") == fixture["cid"]
        record = decode_record(block)
        assert json.loads(record.json) == fixture["json"]
        assert record.raw is None


def test_the_valid_interop_records_are_accepted() -> None:
    path = SHARED / "interop" / "data-model" / "data-model-valid.json"
    if not path.exists():
        pytest.skip("the interop fixtures are not here")
    for case in json.loads(path.read_text(encoding="utf-8"), parse_float=lambda text: int(float(text))):
        assert json.loads(decode_record(cbor2.dumps(case["json"], canonical=True)).json) == case["json"], case["note"]


def test_the_invalid_interop_records_are_refused_where_the_cbor_shows_it() -> None:
    path = SHARED / "interop" / "data-model" / "data-model-invalid.json"
    if not path.exists():
        pytest.skip("the interop fixtures are not here")
    cases = json.loads(path.read_text(encoding="utf-8"))
    refused = {
        case["note"]: reason
        for case in cases
        if (reason := _refusal(cbor2.dumps(case["json"], canonical=True))) is not None
    }
    # The others are odd $type, blob, $link and $bytes maps. As CBOR these are well-formed maps: data, kept.
    assert refused == {"top-level not an object": Reason.RECORD_NOT_MAP, "float": Reason.RECORD_FLOAT}


def test_real_records_come_out_as_another_decoder_reads_them() -> None:
    cars = sorted((SHARED / "cars").glob("*.car"))
    if not cars:
        pytest.skip("the real repos are not here")
    read = 0
    for block in (block for car in cars for block in _blocks(car)):
        value = cbor2.loads(block)
        if "$type" not in value:
            continue
        record = decode_record(block)
        assert json.loads(record.json) == _plain(value)
        assert (record.created_at_us is not None) == ("createdAt" in value)
        assert record.raw is None
        read += 1
    assert read > 2_000
