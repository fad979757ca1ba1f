"""Block stores for one repository: CID in, block out, in memory or in a temporary file.

The blocks of an export arrive in any order and the tree is walked afterwards, so all of them have to be kept.
``MemoryBlocks`` is for what fits, ``SpooledBlocks`` for the rest: 1.3 million blocks on disk cost about 40 MB of
memory, for the index.

A store is filled with ``put``, closed for writing with ``seal`` and read with ``get``. Blocks are put in after their
hash has been checked (``headwater.car``); CIDs are the 36 bytes of ``headwater.cid``.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Collection, Iterable, Sequence
from typing import Final, Protocol

from headwater.cid import CID_LENGTH
from headwater.errors import InvalidInputError, InvariantError, Reason, TransientError
from headwater.mst_node import NODE_START

# What a block costs in a dict beside its own bytes: the objects of key and value, and the slot.
_MEMORY_PER_BLOCK: Final = 200
_WRITE_BUFFER_BYTES: Final = 1024 * 1024
_LENGTH_BYTES: Final = 4
_HEAD_BYTES: Final = _LENGTH_BYTES + CID_LENGTH
# One read brings most blocks whole: records are 300 bytes on average, tree nodes 1,000.
_READ_BYTES: Final = 2048


class Blocks(Protocol):
    """What a tree walk reads from."""

    def get(self, cid: bytes) -> bytes:
        """The block of a CID. Raises InvalidInputError(BLOCK_MISSING)."""
        ...


class RepoBlocks(Blocks, Protocol):
    """What a walk over a whole repository reads from."""

    def like_nodes(self, cids: Collection[bytes]) -> list[bytes]:
        """Those of the CIDs whose blocks begin as tree nodes do; told without looking at the others' blocks."""
        ...


class FrameBlocks:
    """The blocks of a firehose frame, all there from the beginning."""

    def __init__(self, blocks: dict[bytes, bytes]) -> None:
        self._blocks = blocks

    def get(self, cid: bytes) -> bytes:
        """The block of a CID. Raises InvalidInputError(BLOCK_MISSING)."""
        try:
            return self._blocks[cid]
        except KeyError:
            raise InvalidInputError(Reason.BLOCK_MISSING, cid.hex()) from None

    def few(self, most: int) -> dict[bytes, bytes]:
        """The blocks by CID, in a dict of the caller's own; empty when they are more than ``most`` bytes."""
        return self._blocks.copy() if sum(map(len, self._blocks.values())) <= most else {}


class MemoryBlocks(FrameBlocks):
    """A dict of blocks, for small repositories."""

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__({})
        self._like_nodes: set[bytes] = set()
        self.bytes_held = 0
        self.put_all(pairs)

    def put(self, cid: bytes, block: bytes) -> None:
        """Keep a block."""
        self.put_all([(cid, block)])

    def put_all(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep blocks. One that is there already is the same: its hash says so; it counts twice in ``bytes_held``."""
        self._blocks.update(pairs)
        self._like_nodes.update([cid for cid, block in pairs if block.startswith(NODE_START)])
        self.bytes_held += sum([len(block) for _, block in pairs]) + len(pairs) * _MEMORY_PER_BLOCK

    def seal(self) -> None:
        """Nothing to do in memory."""

    def like_nodes(self, cids: Collection[bytes]) -> list[bytes]:
        """Those of the CIDs whose blocks begin as tree nodes do."""
        return [] if self._like_nodes.isdisjoint(cids) else [cid for cid in cids if cid in self._like_nodes]

    def close(self) -> None:
        """Let the blocks go."""
        self._blocks = {}
        self._like_nodes = set()

    def items(self) -> list[tuple[bytes, bytes]]:
        """All (CID, block) pairs, in the order in which they came."""
        return list(self._blocks.items())


class SpooledBlocks:
    """Blocks in an unnamed temporary file, found through a compact hash table.

    The file holds, block after block: length (4 bytes, big endian), CID, block. Per block there are 16 bytes of
    hash and offset (with one bit for whether it begins as tree nodes do), and the table adds 4 bytes for each of its
    slots, of which at most two thirds are taken.

    The hash is Python's own of the CID. It is keyed per process, so nobody can choose CIDs that crowd one corner of
    the table; and since the CID in the file decides, two CIDs of the same hash are both found.
    """

    def __init__(self, directory: str | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - closed by close()
        self._descriptor = self._file.fileno()
        self._pending = bytearray()
        self._size = 0
        self._hashes = array("q")
        self._offsets = array("Q")
        self._table = array("I")
        self._mask = 0

    def put(self, cid: bytes, block: bytes) -> None:
        """Keep a block; one that comes again takes room in the file only.

        Raises TransientError when the disk is full.
        """
        self._hashes.append(hash(cid))
        self._offsets.append(self._size << 1 | block.startswith(NODE_START))
        pending = self._pending
        pending += len(block).to_bytes(_LENGTH_BYTES, "big")
        pending += cid
        pending += block
        self._size += _HEAD_BYTES + len(block)
        if len(pending) >= _WRITE_BUFFER_BYTES:
            self._flush()

    def put_all(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep blocks. Raises like ``put``."""
        for cid, block in pairs:
            self.put(cid, block)

    def seal(self) -> None:
        """Write out what is pending and build the table; call it once, before the first ``get``.

        Raises TransientError when the disk is full.
        """
        self._flush()
        slots = 16
        while slots * 2 < len(self._hashes) * 3:
            slots *= 2
        self._mask = slots - 1
        self._table = array("I", bytes(4 * slots))
        for entry, hashed in enumerate(self._hashes):
            self._enter(entry, hashed)

    def get(self, cid: bytes) -> bytes:
        """The block of a CID. Raises InvalidInputError(BLOCK_MISSING)."""
        hashed = hash(cid)
        table, hashes, mask = self._table, self._hashes, self._mask
        slot = hashed & mask
        while entry := table[slot]:
            if hashes[entry - 1] == hashed:
                block = self._read(self._offsets[entry - 1] >> 1, cid)
                if block is not None:
                    return block
            slot = (slot + 1) & mask
        raise InvalidInputError(Reason.BLOCK_MISSING, cid.hex())

    def like_nodes(self, cids: Collection[bytes]) -> list[bytes]:
        """Those of the CIDs whose blocks begin as tree nodes do, and hardly ever one that shares such a one's hash."""
        return [cid for cid in cids if self._is_like_node(hash(cid))]

    def close(self) -> None:
        """Close the file, which has no name: its room on disk is free at once."""
        self._file.close()

    def _enter(self, entry: int, hashed: int) -> None:
        """Give an entry the first free slot (slots hold entry + 1, 0 is free), unless its CID is there already."""
        table, hashes, mask = self._table, self._hashes, self._mask
        slot = hashed & mask
        while taken := table[slot]:
            if hashes[taken - 1] == hashed and self._cid_at(taken - 1) == self._cid_at(entry):
                return
            slot = (slot + 1) & mask
        table[slot] = entry + 1

    def _is_like_node(self, hashed: int) -> bool:
        table, hashes, mask = self._table, self._hashes, self._mask
        slot = hashed & mask
        while entry := table[slot]:
            if hashes[entry - 1] == hashed and self._offsets[entry - 1] & 1:
                return True
            slot = (slot + 1) & mask
        return False

    def _cid_at(self, entry: int) -> bytes:
        return os.pread(self._descriptor, CID_LENGTH, (self._offsets[entry] >> 1) + _LENGTH_BYTES)

    def _read(self, offset: int, cid: bytes) -> bytes | None:
        """The block at ``offset``, or None when it is another CID's."""
        read = os.pread(self._descriptor, _READ_BYTES, offset)
        if read[_LENGTH_BYTES:_HEAD_BYTES] != cid:
            return None
        length = int.from_bytes(read[:_LENGTH_BYTES], "big")
        block = read[_HEAD_BYTES : _HEAD_BYTES + length]
        if len(block) < length:
            block += os.pread(self._descriptor, length - len(block), offset + len(read))
            if len(block) < length:
                raise InvariantError("the block spool is shorter than what was written to it")
        return block

    def _flush(self) -> None:
        view = memoryview(self._pending)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise TransientError(f"cannot write the block spool: {error.strerror}") from error
        self._pending = bytearray()
