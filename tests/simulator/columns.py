"""The records of a large repo, left on disk in its CAR and found by a small index beside it."""

from __future__ import annotations

import json
import mmap
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from . import car, tree
from .dagcbor import cid_of

_CID_LENGTH = 36


@dataclass(frozen=True, slots=True)
class Signed:
    """A commit: its rev, the CID of its tree's root, its own CID and block."""

    rev: str
    root: bytes
    cid: bytes
    block: bytes


#: From the CID of a tree's root to the signed commit.
SignRoot = Callable[[bytes], Signed]


class Columns:
    """Records by sorted key, over a CAR file that nobody changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        index = json.loads(_index(path).read_text())
        root, cid, block = (bytes.fromhex(index[name]) for name in ("root", "cid", "block"))
        self.signed = Signed(index["rev"], root, cid, block)
        self.keys = _keys(path).read_bytes().split(b"\n") if index["count"] else []
        self._spans = array("Q")
        self._spans.frombytes(_spans(path).read_bytes())
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self.keys)

    def cids(self) -> list[bytes]:
        """The records' CIDs, in key order."""
        content = self._map
        return [content[start - _CID_LENGTH : start] for start in self._spans[::2]]

    def find(self, key: bytes) -> tuple[bytes, bytes] | None:
        """(CID, block) of one record."""
        position = bisect_left(self.keys, key)
        if position == len(self.keys) or self.keys[position] != key:
            return None
        start, length = self._spans[2 * position], self._spans[2 * position + 1]
        return self._map[start - _CID_LENGTH : start], self._map[start : start + length]

    def blocks(self) -> Iterator[tuple[bytes, bytes]]:
        """All the CAR's blocks, as they stand there."""
        return car.read(self._map)


def exists(path: Path) -> bool:
    """Whether a CAR and its whole index are there; the index proper is written last."""
    return _index(path).exists()


def write(path: Path, records: Iterable[tuple[bytes, bytes]], sign: SignRoot) -> None:
    """Write the CAR of records (key, block; sorted by key) and its index; no record is held in memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    keys: list[bytes] = []
    cids: list[bytes] = []
    lengths = array("Q")
    with TemporaryFile(dir=path.parent) as spool:
        for key, block in records:
            keys.append(key)
            cids.append(cid_of(block))
            lengths.append(len(block))
            spool.write(block)
        spool.seek(0)
        root = tree.build(keys, cids)
        signed = sign(root.cid)

        # Depth first, the tree meets the records in key order, which is the order of the spool.
        def blocks() -> Iterator[tuple[bytes, bytes]]:
            yield signed.cid, signed.block
            for item in tree.blocks(root):
                if isinstance(item, int):
                    at_record.append(True)
                    yield cids[item], spool.read(lengths[item])
                else:
                    at_record.append(False)
                    yield item.cid, item.block

        at_record = [False]
        partial = path.with_suffix(".partial")
        with partial.open("wb", buffering=1 << 20) as out:
            offsets = car.write(out, signed.cid, blocks())
    starts = (offset for offset, record in zip(offsets, at_record, strict=True) if record)
    spans = array("Q")
    for start, length in zip(starts, lengths, strict=True):
        spans.extend((start, length))
    _keys(path).write_bytes(b"\n".join(keys))
    _spans(path).write_bytes(spans.tobytes())
    partial.rename(path)
    index = {"root": signed.root.hex(), "cid": signed.cid.hex(), "block": signed.block.hex()}
    _index(path).write_text(json.dumps(index | {"count": len(keys), "rev": signed.rev}))


def _index(path: Path) -> Path:
    return path.with_suffix(".json")


def _keys(path: Path) -> Path:
    return path.with_suffix(".keys")


def _spans(path: Path) -> Path:
    return path.with_suffix(".spans")
