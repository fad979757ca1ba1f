from __future__ import annotations

import base64

import pytest

from headwater.cid import check_cid, check_dag_cbor_cid, cid_of, cid_text, parse_cid_text
from headwater.errors import InvalidInputError, Reason

DAG_CBOR = b"\x01\x71\x12\x20" + bytes(range(32))
RAW = b"\x01\x55\x12\x20" + bytes(range(32))


def _base32(cid: bytes) -> str:
    return "b" + base64.b32encode(cid).decode().lower().rstrip("=")


@pytest.mark.parametrize("cid", [DAG_CBOR, RAW, DAG_CBOR[:4] + b"\xff" * 32, DAG_CBOR[:4] + bytes(32)])
def test_text_and_bytes_are_each_others_inverse(cid: bytes) -> None:
    assert cid_text(cid) == _base32(cid)
    assert parse_cid_text(_base32(cid)) == cid
    assert check_cid(cid) == cid


def test_the_cid_of_a_block_is_its_sha256() -> None:
    # The empty map; its CID is known from every IPLD implementation.
    assert cid_text(cid_of(b"\xa0")) == "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"


@pytest.mark.parametrize(
    "cid",
    [
        b"",
        DAG_CBOR[:-1],
        DAG_CBOR + b"\x00",
        b"\x12\x20" + bytes(32),
        b"\x01\x71\x00\x20" + bytes(32),
        b"\x01\x71\x13\x40" + bytes(64),
        b"\x01\x70\x12\x20" + bytes(32),
        b"\x02\x71\x12\x20" + bytes(32),
    ],
    ids=["empty", "short", "long", "version 0", "identity", "sha2-512", "dag-pb", "version 2"],
)
def test_other_cids_are_refused(cid: bytes) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_cid(cid)
    assert refused.value.reason is Reason.CID_UNSUPPORTED
    with pytest.raises(InvalidInputError):
        parse_cid_text(_base32(cid))


def test_only_dag_cbor_will_do_where_a_block_is_meant() -> None:
    assert check_dag_cbor_cid(DAG_CBOR) == DAG_CBOR
    with pytest.raises(InvalidInputError):
        check_dag_cbor_cid(RAW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        _base32(DAG_CBOR).upper(),
        _base32(DAG_CBOR)[1:],
        _base32(DAG_CBOR) + "======",
        _base32(DAG_CBOR)[:-1] + "1",
        _base32(DAG_CBOR)[:-1] + "_",
        _base32(DAG_CBOR) + "\n",
        # The last character carries two bits of padding, which have to be zero.
        _base32(DAG_CBOR)[:-1] + chr(ord(_base32(DAG_CBOR)[-1]) + 1),
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
        "zdpuAmNsMFvYGbMFwCvsbJMGxVjmyvLYK5ucTZZTAkUvUPYkY",
    ],
)
def test_each_cid_has_one_text(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_cid_text(text)
    assert refused.value.reason is Reason.CID_UNSUPPORTED
