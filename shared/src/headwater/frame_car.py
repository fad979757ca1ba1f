"""The CAR of a firehose frame, which is small and whole in memory, in one pass.

It is read as ``headwater.car`` reads any, every block hashed. What is not of the usual form (one root, blocks below
16 KB) is left to that, and what is wrong as well: it knows the reason.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from headwater.car import ONE_ROOT, VERSION_1, CarLimits, read_car
from headwater.cid import CID_LENGTH, DAG_CBOR_PREFIX, RAW_PREFIX
from headwater.frame_reader import MAX_BLOCKS_BYTES

_LIMITS: Final = CarLimits(total_bytes=MAX_BLOCKS_BYTES, block_bytes=MAX_BLOCKS_BYTES)
_HEADER_LENGTH: Final = len(ONE_ROOT) + CID_LENGTH + len(VERSION_1)
# The header up to the digest of its root, where that is, and where the first section begins.
_HEADER_START: Final = bytes((_HEADER_LENGTH,)) + ONE_ROOT + DAG_CBOR_PREFIX
_ROOT: Final = slice(1 + len(ONE_ROOT), 1 + len(ONE_ROOT) + CID_LENGTH)
_SECTIONS: Final = 1 + _HEADER_LENGTH


def read_frame_car(car: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """The root of a frame's CAR, and its blocks by CID.

    Raises InvalidInputError like ``headwater.car.read_car``.
    """
    if len(car) <= MAX_BLOCKS_BYTES and car.startswith(_HEADER_START) and car.startswith(VERSION_1, _ROOT.stop):
        blocks = _usual_blocks(car)
        if blocks is not None:
            return car[_ROOT], blocks
    root, pairs = read_car(car, _LIMITS)
    return root, dict(pairs)


def _usual_blocks(car: bytes) -> dict[bytes, bytes] | None:
    blocks: dict[bytes, bytes] = {}
    end, size = _SECTIONS, len(car)
    while end < size:
        length, start = car[end], end + 1
        if length > 0x7F:
            high = car[start] if start < size else 0
            if not 0 < high < 0x80:
                return None
            length, start = length & 0x7F | high << 7, start + 1
        body, end = start + CID_LENGTH, start + length
        cid, block = car[start:body], car[body:end]
        digest = sha256(block).digest()
        if (cid != DAG_CBOR_PREFIX + digest and cid != RAW_PREFIX + digest) or length < CID_LENGTH:
            return None
        blocks[cid] = block
    return blocks if end == size else None
