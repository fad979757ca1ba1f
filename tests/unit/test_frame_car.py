"""A frame's CAR in one pass is what the reader of chunks makes of it, to the reason for a refusal."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest

from headwater.car import CarLimits, read_car
from headwater.errors import InvalidInputError, Reason
from headwater.frame_car import read_frame_car
from headwater.frame_reader import MAX_BLOCKS_BYTES
from naive_repo import car, cid_of, encode, link, section, varint

SMALL, LARGE = ([(cid_of(block), block) for block in blocks] for blocks in ((b"\xa0", b"\x80" * 300), (bytes(20_000),)))
ROOT = SMALL[0][0]
RAW = b"\x01\x55\x12\x20" + sha256(b"picture").digest()
HEADER = car(ROOT, [])


def _outcome(read: Callable[[], tuple[bytes, dict[bytes, bytes]]]) -> object:
    try:
        root, blocks = read()
    except InvalidInputError as error:
        return error.reason, error.detail
    return root, list(blocks.items())


def _by_chunks(data: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    root, pairs = read_car(data, CarLimits(total_bytes=MAX_BLOCKS_BYTES, block_bytes=MAX_BLOCKS_BYTES))
    return root, dict(pairs)


def _both(data: bytes) -> object:
    outcome = _outcome(lambda: read_frame_car(data))
    assert outcome == _outcome(lambda: _by_chunks(data))
    return outcome


def test_blocks_of_every_kind() -> None:
    for pairs in ([], SMALL, LARGE, [*SMALL, *LARGE, *SMALL], [(RAW, b"picture")]):
        assert _both(car(ROOT, pairs)) == (ROOT, [*dict(pairs).items()])
    two = encode({"version": 1, "roots": [link(ROOT), link(SMALL[1][0])]})
    assert _both(varint(len(two)) + two + section(*SMALL[1])) == (ROOT, SMALL[1:])


def test_every_byte_and_every_end() -> None:
    whole = car(ROOT, SMALL)
    for place in range(len(whole)):
        for spoil in (0x01, 0x80):
            spoilt = _both(whole[:place] + bytes((whole[place] ^ spoil,)) + whole[place + 1 :])
            # Another digest of the root is only another root.
            assert isinstance(spoilt, tuple)
            assert isinstance(spoilt[0], Reason) or 18 <= place < 50
        _both(whole[:place])


@pytest.mark.parametrize(
    "sections",
    [
        b"\x00",
        varint(36) + (cid_of(b"")),
        varint(35) + cid_of(b""),
        # The last byte of this CID is the length of the section behind it.
        varint(35) + cid_of(b"") + cid_of(bytes(49)) + bytes(49),
        varint(4) + cid_of(b""),
        b"\xa5\x00" + section(*SMALL[0])[1:],
        b"\xa5\x80\x00" + section(*SMALL[0])[1:],
        b"\xa5",
        section(ROOT, b"\xa1"),
        section(RAW, b"pictures"),
        section(b"\x01\x71\x13\x20" + ROOT[4:], b"\xa0"),
        varint(MAX_BLOCKS_BYTES + 37) + ROOT,
    ],
)
def test_odd_sections(sections: bytes) -> None:
    _both(HEADER + section(*SMALL[1]) + sections)
    _both(HEADER + sections + section(*SMALL[1]))


def test_one_that_is_too_large() -> None:
    blocks = [(cid_of(block), block) for block in (bytes((n,)) * 10_000 for n in range(199))]
    assert isinstance(_both(car(ROOT, blocks)), tuple)
    assert _outcome(lambda: read_frame_car(car(ROOT, blocks * 2))) == _outcome(
        lambda: _by_chunks(car(ROOT, blocks * 2))
    )
    with pytest.raises(InvalidInputError) as refused:
        read_frame_car(car(ROOT, blocks * 2))
    assert refused.value.reason is Reason.CAR_TOO_LARGE
