from __future__ import annotations

from hashlib import sha256

import pytest

import naive_repo
from headwater.car import CarLimits, CarReader, read_car
from headwater.errors import InvalidInputError, Reason
from naive_repo import car, cid_of, encode, link, section, varint

BLOCKS = [(cid_of(block), block) for block in (b"\xa0", b"\x80", bytes([0x59, 0x40, 0]) + bytes(16384), b"\x01")]
ROOT = BLOCKS[0][0]
CAR = car(ROOT, BLOCKS)
HEADER = car(ROOT, [])


def _header(value: object) -> bytes:
    written = encode(value)
    return varint(len(written)) + written


def _refusal(data: bytes, limits: CarLimits | None = None) -> Reason:
    with pytest.raises(InvalidInputError) as refused:
        read_car(data, limits)
    return refused.value.reason


@pytest.mark.parametrize("size", [1, 2, 3, 37, 1000, 16384, len(CAR) - 1, len(CAR)])
def test_chunks_of_any_size_give_the_same_blocks(size: int) -> None:
    reader = CarReader()
    blocks = [pair for start in range(0, len(CAR), size) for pair in reader.feed(CAR[start : start + size])]
    assert blocks == BLOCKS
    assert reader.finish() == ROOT
    assert (reader.bytes_read, reader.blocks_read) == (len(CAR), len(BLOCKS))


def test_blocks_come_as_soon_as_they_are_complete() -> None:
    reader = CarReader()
    first = len(HEADER) + len(section(*BLOCKS[0]))
    assert reader.feed(CAR[: first - 1]) == []
    assert reader.feed(CAR[first - 1 : first]) == BLOCKS[:1]


def test_empty_chunks_change_nothing() -> None:
    reader = CarReader()
    assert reader.feed(b"") == []
    assert reader.feed(CAR) == BLOCKS
    assert reader.feed(b"") == []
    assert reader.finish() == ROOT


@pytest.mark.parametrize("end", [0, 1, len(HEADER) - 1, len(HEADER) + 1, len(HEADER) + 20, len(CAR) - 1])
def test_a_car_that_ends_early(end: int) -> None:
    assert _refusal(CAR[:end]) is Reason.CAR_TRUNCATED


def test_every_flipped_byte_behind_the_header_is_refused() -> None:
    data = car(ROOT, [BLOCKS[0], BLOCKS[1], BLOCKS[3]])
    for position in range(len(HEADER), len(data)):
        flipped = data[:position] + bytes((data[position] ^ 1,)) + data[position + 1 :]
        assert _refusal(flipped) in set(Reason)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"\x00", Reason.CAR_HEADER),
        (varint(4097), Reason.CAR_HEADER),
        (b"\x80" * 8, Reason.CAR_TRUNCATED),
        (b"\x80" * 9, Reason.CAR_HEADER),
        (b"\xba\x80\x00", Reason.CAR_HEADER),
        (_header({"version": 1}), Reason.CAR_HEADER),
        (_header({"version": 1, "roots": []}), Reason.CAR_HEADER),
        (_header({"version": 1, "roots": ROOT}), Reason.CAR_HEADER),
        (_header({"version": 1, "roots": [ROOT]}), Reason.CAR_HEADER),
        (_header({"version": True, "roots": [link(ROOT)]}), Reason.CAR_HEADER),
        (_header({"version": 2, "roots": [link(ROOT)]}), Reason.CAR_HEADER),
        (_header({"version": 1, "roots": [link(ROOT)], "more": 1}), Reason.CAR_HEADER),
        (_header({"version": 1, "roots": [link(b"\x01\x55" + ROOT[2:])]}), Reason.CID_UNSUPPORTED),
        (_header([1]), Reason.CAR_HEADER),
    ],
)
def test_headers_that_are_refused(header: bytes, reason: Reason) -> None:
    assert _refusal(header) is reason


def test_of_two_roots_the_first_is_the_commit() -> None:
    root, blocks = read_car(_header({"version": 1, "roots": [link(ROOT), link(BLOCKS[1][0])]}) + section(*BLOCKS[1]))
    assert root == ROOT
    assert blocks == [BLOCKS[1]]


def test_raw_blocks_are_legal_and_hashed() -> None:
    raw = b"\x01\x55\x12\x20" + sha256(b"picture").digest()
    assert read_car(HEADER + section(raw, b"picture"))[1] == [(raw, b"picture")]
    assert _refusal(HEADER + section(raw, b"pictures")) is Reason.BLOCK_HASH


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        (b"\x00", Reason.CAR_SECTION),
        (varint(35) + ROOT[:35], Reason.CAR_SECTION),
        (b"\xa5\x80\x00" + b"\x00" * 37, Reason.CAR_SECTION),
        (b"\xff" * 9, Reason.CAR_SECTION),
        (varint(2**62), Reason.BLOCK_TOO_LARGE),
        (section(b"\x12\x20" + bytes(32), b"v0"), Reason.CID_UNSUPPORTED),
        (section(b"\x01\x71\x00\x01", b"\xa0"), Reason.CID_UNSUPPORTED),
        (section(b"\x01\x71\x13\x40" + bytes(64), b"\xa0"), Reason.CID_UNSUPPORTED),
        (section(ROOT, b"\xa1"), Reason.BLOCK_HASH),
    ],
)
def test_sections_that_are_refused(sections: bytes, reason: Reason) -> None:
    assert _refusal(HEADER + sections) is reason


def test_limits_hold_at_their_edge() -> None:
    largest = max(len(block) for _, block in BLOCKS)
    exact = CarLimits(total_bytes=len(CAR), block_bytes=largest, blocks=len(BLOCKS))
    assert read_car(CAR, exact)[1] == BLOCKS
    assert _refusal(CAR, CarLimits(total_bytes=len(CAR) - 1)) is Reason.CAR_TOO_LARGE
    assert _refusal(CAR, CarLimits(block_bytes=largest - 1)) is Reason.BLOCK_TOO_LARGE
    assert _refusal(CAR, CarLimits(blocks=len(BLOCKS) - 1)) is Reason.CAR_TOO_LARGE


def test_a_large_block_in_small_chunks_is_joined_once() -> None:
    block = b"\x5a" + (1_900_000).to_bytes(4, "big") + bytes(1_900_000)
    pair = (naive_repo.cid_of(block), block)
    data = car(pair[0], [pair])
    reader = CarReader()
    waiting = 0
    blocks = []
    for start in range(0, len(data), 100):
        blocks += reader.feed(data[start : start + 100])
        waiting = max(waiting, len(reader._waiting))
    assert blocks == [pair]
    # The chunks have lain side by side until the block was whole: no chunk was joined to what came before it.
    assert waiting > 18_000
