"""CAR v1 files: writing blocks, and finding them again in a file of our own.

Source: https://ipld.io/specs/transport/car/carv1/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from mmap import mmap
from typing import BinaryIO

from .dagcbor import Link, encode

_CID_LENGTH = 36


def varint(number: int) -> bytes:
    """An unsigned LEB128 integer."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def header(root: bytes) -> bytes:
    """The header of a CAR with one root."""
    block = encode({"roots": [Link(root)], "version": 1})
    return varint(len(block)) + block


def frame(cid: bytes, block: bytes) -> bytes:
    """One block with its length and CID, as it stands in a CAR."""
    return varint(len(cid) + len(block)) + cid + block


def write(out: BinaryIO, root: bytes, blocks: Iterable[tuple[bytes, bytes]]) -> list[int]:
    """Write a CAR; where each block's bytes begin in the file."""
    start = header(root)
    out.write(start)
    position, offsets = len(start), []
    for cid, block in blocks:
        framed = frame(cid, block)
        out.write(framed)
        position += len(framed)
        offsets.append(position - len(block))
    return offsets


def read(content: bytes | mmap) -> Iterator[tuple[bytes, bytes]]:
    """The (CID, block) pairs of a CAR that we wrote ourselves, unchecked."""
    length, position = _read_varint(content, 0)
    position += length
    while position < len(content):
        length, position = _read_varint(content, position)
        yield content[position : position + _CID_LENGTH], content[position + _CID_LENGTH : position + length]
        position += length


def _read_varint(content: bytes | mmap, position: int) -> tuple[int, int]:
    number, shift = 0, 0
    while True:
        byte = content[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
