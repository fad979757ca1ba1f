"""An incremental reader of CAR files: chunks of any size in, verified blocks out.

CARv1 (https://ipld.io/specs/transport/car/carv1/) is a varint-framed header and then varint-framed sections, each
a CID and a block. A repository export (com.atproto.sync.getRepo) names the commit as its root.

Policy, where the format leaves room:
- the first root is the commit; further roots are ignored (the repository specification asks readers to do so);
- the header holds ``version`` and ``roots`` and nothing else;
- blocks come in any order, doubled, unreferenced or with the raw codec;
- varints are the shortest possible; a section holds at least a CID;
- every block is hashed as it passes, and one wrong hash refuses the file: nothing in it can be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from headwater.cid import CID_LENGTH, DAG_CBOR_PREFIX, PREFIX_LENGTH, PREFIXES, RAW_PREFIX, check_dag_cbor_cid
from headwater.dagcbor import Link, decode_map
from headwater.errors import InvalidInputError, Reason

MIB: Final = 1024 * 1024
MAX_HEADER_BYTES: Final = 4096
# {"roots": [link], "version": 1}, around the CID.
ONE_ROOT: Final = b"\xa2\x65roots\x81\xd8\x2a\x58\x25\x00"
VERSION_1: Final = b"\x67version\x01"
# 2^63 - 1 is the largest length that the varint specification allows: nine bytes of seven bits.
_MAX_VARINT_BITS: Final = 63


@dataclass(frozen=True, slots=True)
class CarLimits:
    """Ceilings for one file, in bytes and blocks. The count bounds the index that a block store keeps."""

    total_bytes: int = 2048 * MIB
    block_bytes: int = 2 * MIB
    blocks: int = 8_000_000


class CarReader:
    """Reads one CAR. ``feed`` it the bytes as they come, then ``finish`` it.

    Whatever the size of the chunks, each byte is copied a bounded number of times: bytes wait in a list and are
    joined when the section they belong to is complete.
    """

    def __init__(self, limits: CarLimits | None = None) -> None:
        self._limits = limits or CarLimits()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._needed = 1
        self._root: bytes | None = None
        self.bytes_read = 0
        self.blocks_read = 0

    def feed(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        """Take a chunk; give the (CID, block) pairs that it completes, each with its hash checked.

        Raises InvalidInputError (CAR_HEADER, CAR_SECTION, CAR_TOO_LARGE, BLOCK_TOO_LARGE, BLOCK_HASH,
        CID_UNSUPPORTED); the reader is then of no more use.
        """
        self.bytes_read += len(chunk)
        if self.bytes_read > self._limits.total_bytes:
            raise InvalidInputError(Reason.CAR_TOO_LARGE, f"more than {self._limits.total_bytes} bytes")
        self._waiting.append(chunk)
        self._waiting_bytes += len(chunk)
        if self._waiting_bytes < self._needed:
            return []
        buffer = b"".join(self._waiting)
        position = 0
        if self._root is None:
            position = self._read_header(buffer)
        blocks: list[tuple[bytes, bytes]] = []
        if self._root is not None:
            position = self._read_sections(buffer, position, blocks)
        rest = buffer[position:]
        self._waiting = [rest]
        self._waiting_bytes = len(rest)
        return blocks

    def finish(self) -> bytes:
        """Say that no more bytes come; give the CID of the root, which is the commit.

        Raises InvalidInputError(CAR_TRUNCATED) when the bytes end inside the header or a section.
        """
        if self._root is None or self._waiting_bytes:
            raise InvalidInputError(Reason.CAR_TRUNCATED, f"ends after {self.bytes_read} bytes")
        return self._root

    def _read_header(self, buffer: bytes) -> int:
        frame = _read_varint(buffer, 0, Reason.CAR_HEADER)
        if frame is None:
            self._needed = len(buffer) + 1
            return 0
        length, start = frame
        if not 0 < length <= MAX_HEADER_BYTES:
            raise InvalidInputError(Reason.CAR_HEADER, f"header of {length} bytes")
        end = start + length
        if end > len(buffer):
            self._needed = end
            return 0
        self._root = _root_of_header(buffer[start:end])
        return end

    def _read_sections(self, buffer: bytes, position: int, blocks: list[tuple[bytes, bytes]]) -> int:
        """Append each complete section's pair to ``blocks``; give the position where the next one begins."""
        size = len(buffer)
        max_section = self._limits.block_bytes + CID_LENGTH
        before = self.blocks_read
        room = self._limits.blocks - before
        self._needed = 1
        add = blocks.append
        while position < size:
            length, start = buffer[position], position + 1
            if length > 0x7F:
                # Nearly all sections have 128 to 16,383 bytes: two bytes of varint, read here without a call.
                high = buffer[start] if start < size else 0
                if 0 < high < 0x80:
                    length, start = length & 0x7F | high << 7, start + 1
                else:
                    frame = _read_varint(buffer, position, Reason.CAR_SECTION)
                    if frame is None:
                        self._needed = size - position + 1
                        break
                    length, start = frame
            end = start + length
            if not CID_LENGTH <= length <= max_section:
                raise _refused_section(buffer[start : start + CID_LENGTH], length)
            if end > size:
                self._needed = end - position
                break
            body = start + CID_LENGTH
            cid = buffer[start:body]
            block = buffer[body:end]
            digest = sha256(block).digest()
            if cid != DAG_CBOR_PREFIX + digest and cid != RAW_PREFIX + digest:
                raise _refused_block(cid)
            add((cid, block))
            position = end
        if len(blocks) > room:
            raise InvalidInputError(Reason.CAR_TOO_LARGE, f"more than {self._limits.blocks} blocks")
        self.blocks_read = before + len(blocks)
        return position


def read_car(car: bytes, limits: CarLimits | None = None) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Read a whole CAR that is already in memory, such as a firehose frame's: (root CID, blocks in file order).

    Raises InvalidInputError like ``CarReader``.
    """
    reader = CarReader(limits)
    blocks = reader.feed(car)
    return reader.finish(), blocks


def _read_varint(buffer: bytes, position: int, reason: Reason) -> tuple[int, int] | None:
    """An unsigned varint at ``position``: (value, position after it), or None when its end is not there yet.

    Raises InvalidInputError(``reason``) for one that is longer than needed or than nine bytes
    (https://github.com/multiformats/unsigned-varint).
    """
    size = len(buffer)
    value = shift = 0
    while position < size:
        byte = buffer[position]
        position += 1
        if byte < 0x80:
            if byte == 0 and shift:
                raise InvalidInputError(reason, "varint longer than needed")
            return value | byte << shift, position
        value |= (byte & 0x7F) << shift
        shift += 7
        if shift == _MAX_VARINT_BITS:
            raise InvalidInputError(reason, "varint of more than nine bytes")
    return None


def _root_of_header(header: bytes) -> bytes:
    # Decoding costs more than all blocks of a firehose frame; a header with one root has one encoding.
    cid = header[len(ONE_ROOT) : -len(VERSION_1)]
    if len(cid) == CID_LENGTH and header == ONE_ROOT + cid + VERSION_1:
        return check_dag_cbor_cid(cid)
    fields = decode_map(header, Reason.CAR_HEADER)
    version, roots = fields.get("version"), fields.get("roots")
    if type(version) is not int or version != 1:
        raise InvalidInputError(Reason.CAR_HEADER, f"version {str(version)[:20]}")
    if len(fields) != 2:
        raise InvalidInputError(Reason.CAR_HEADER, "unknown field")
    if not isinstance(roots, list) or not roots:
        raise InvalidInputError(Reason.CAR_HEADER, "no root")
    if not all(isinstance(root, Link) for root in roots):
        raise InvalidInputError(Reason.CAR_HEADER, "a root that is no CID")
    return check_dag_cbor_cid(roots[0].cid)


def _refused_block(cid: bytes) -> InvalidInputError:
    reason = Reason.BLOCK_HASH if cid[:PREFIX_LENGTH] in PREFIXES else Reason.CID_UNSUPPORTED
    return InvalidInputError(reason, cid.hex())


def _refused_section(start: bytes, length: int) -> InvalidInputError:
    """Why a section of this length is refused; ``start`` is what is there of its first bytes."""
    if length > CID_LENGTH:
        return InvalidInputError(Reason.BLOCK_TOO_LARGE, f"section of {length} bytes")
    if length and start[:PREFIX_LENGTH] not in PREFIXES and len(start) >= PREFIX_LENGTH:
        return InvalidInputError(Reason.CID_UNSUPPORTED, start[:length].hex())
    return InvalidInputError(Reason.CAR_SECTION, f"section of {length} bytes")
