"""The nodes of a tree that is being changed, and the way to a key through them.

The way is found from the root by comparing keys, or, where a key's value is known, from the node that holds the value
upwards: the node above is the one that links the node below. That reads one node instead of all, and leaves out that
the key lies between the keys beside each link. If the tree without the key is sound, it need not be asked of most
nodes: there the keys beside it in its own node lie between those beside each link above, and so does what lies between
them; where the key is the first or the last of its node, the nearest keys above decide. So whenever that tree is sound,
both ways are one.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

from headwater.blocks import FrameBlocks
from headwater.cid import DAG_CBOR_PREFIX, PREFIX_LENGTH
from headwater.mst_pieces import (
    DIGEST_BYTES,
    LEFT,
    SHARED,
    TREE,
    TREE_FROM_END,
    FoundPiece,
    find_pieces,
    has_left,
    key_at,
)

MAX_DEPTH: Final = 32
# A repo of a million records has nodes of 2 KB, 12 deep; each write reads those on its way.
_MAX_NODE_BYTES: Final = 16_384
# A whole frame is looked through, and once more where its nodes come in another order than from the root down.
_FEW_BYTES: Final = 65_536
_ROUNDS: Final = 2
_HEAD_BYTES: Final = len(TREE)
_SUBTREE_HEADS: Final = (TREE, LEFT)

Passed = tuple[bytes, bytes, int]
"""A node on the way: its CID, its block, and where in that the digest of the next one stands."""


class NotUsualError(Exception):
    """Not to be had by splicing; ``headwater.mst_tree`` can do it, or knows what is wrong."""


class Place(msgspec.Struct, frozen=True):
    """Where the way to a key ends: in the node ``block`` of that ``cid``.

    ``lower`` of its pieces, which end at ``start``, have lower keys, the last of them ``before``. ``here``: the next
    one is the key's. ``at`` is where the digest of the subtree between the lower ones and the others stands, or 0.
    ``above`` are the nodes passed through, the root last.
    """

    cid: bytes
    block: bytes
    found: list[FoundPiece]
    lower: int
    start: int
    before: bytes
    here: bool
    at: int
    above: list[Passed]

    def subtree(self) -> bytes:
        """The digest of the subtree between the lower pieces and the others; empty when there is none."""
        return self.block[self.at : self.at + DIGEST_BYTES] if self.at else b""


class Nodes:
    """The nodes of a tree as it is now: those in ``blocks`` and those made since, without those that were replaced."""

    def __init__(self, blocks: FrameBlocks) -> None:
        self._blocks = blocks
        self._at_hand = blocks.few(_FEW_BYTES)

    def read(self, cid: bytes) -> bytes:
        """A node. Raises NotUsualError for a large one, and InvalidInputError for one that is not there."""
        block = self._at_hand.get(cid) or self._blocks.get(cid)
        if len(block) > _MAX_NODE_BYTES:
            raise NotUsualError("a large node")
        return block

    def add(self, block: bytes) -> bytes:
        """Keep a node that was made; its digest."""
        digest = sha256(block).digest()
        self._at_hand[DAG_CBOR_PREFIX + digest] = block
        return digest

    def drop(self, cid: bytes) -> None:
        """A node is replaced: no way leads through it any more."""
        self._at_hand.pop(cid, None)

    def take(self, cid: bytes) -> bytes:
        """``read``, and ``drop``."""
        block = self.read(cid)
        self.drop(cid)
        return block

    def put(self, block: bytes, above: list[Passed]) -> bytes:
        """Put a node in place of the one below ``above``, and have each of these link the one before it; the root."""
        digest = sha256(block).digest()
        made = [(DAG_CBOR_PREFIX + digest, block)]
        for cid, passed, at in above:
            block = passed[:at] + digest + passed[at + DIGEST_BYTES :]
            digest = sha256(block).digest()
            made.append((DAG_CBOR_PREFIX + digest, block))
            self._at_hand.pop(cid, None)
        self._at_hand.update(reversed(made))
        return DAG_CBOR_PREFIX + digest

    def at(self, cid: bytes, key: bytes) -> Place:
        """Where a key would be in a node that is to be parted."""
        block = self.take(cid)
        return Place(cid, block, *_look(block, key), [])

    def from_root(self, root: bytes, key: bytes, steps: int = MAX_DEPTH) -> Place:
        """Where a key is, or where it would be in so many steps, or as far as there are subtrees. Raises as ``read``
        does."""
        above: list[Passed] = []
        cid = root
        while len(above) < MAX_DEPTH:
            block = self.read(cid)
            found, lower, start, before, here, at = _look(block, key)
            if here or not at or len(above) == steps:
                above.reverse()
                return Place(cid, block, found, lower, start, before, here, at, above)
            above.append((cid, block, at))
            cid = DAG_CBOR_PREFIX + block[at : at + DIGEST_BYTES]
        raise NotUsualError("too deep")

    def from_value(self, root: bytes, key: bytes, value: bytes) -> Place | None:
        """Where a key of this value is; None where that is not found. Right where the tree without the key is sound."""
        chain = self._chain(root, value)
        if not chain:
            return None
        cid, block, _ = chain[0]
        del chain[0]
        found, lower, start, before, here, at = _look(block, key)
        if not here or not _may_be_below(chain, key, before if lower else None, lower + 1 < len(found)):
            return None
        return Place(cid, block, found, lower, start, before, True, at, chain)

    def _chain(self, root: bytes, value: bytes) -> list[Passed]:
        """The node that holds a value, the one that links that node and so on up to the root; empty when that does not
        lead there."""
        chain: list[Passed] = []
        sought = value
        for _ in range(_ROUNDS):
            # Mostly a node comes before those that it links.
            for cid, block in reversed(self._at_hand.items()):
                at = block.find(sought)
                if at < 0:
                    continue
                at += PREFIX_LENGTH
                if chain and (block[at - _HEAD_BYTES : at] not in _SUBTREE_HEADS or len(chain) > MAX_DEPTH):
                    return []
                chain.append((cid, block, at))
                if cid == root:
                    return chain
                sought = cid
        return []


def _may_be_below(above: list[Passed], key: bytes, before: bytes | None, bounded: bool) -> bool:
    """Whether a key belongs below the links of the nodes above its own, if a sound tree has all else in these nodes.

    In its own node the key stands behind ``before``, and before another one if it is ``bounded``.
    """
    for _, block, at in above:
        if bounded and before is not None:
            break
        if before is not None:
            # Between two keys all have in common what these two have.
            behind = key_at(block, at + TREE_FROM_END if block[at - _HEAD_BYTES : at] == TREE else 0, before)
            if behind is not None and behind <= key:
                return False
            bounded = behind is not None
        else:
            found, lower, _, last, here, link = _look(block, key)
            if here or link != at:
                return False
            before, bounded = last if lower else None, bounded or lower < len(found)
    return True


def _look(block: bytes, key: bytes) -> tuple[list[FoundPiece], int, int, bytes, bool, int]:
    """Of a node its pieces, and a key's place among them as in ``Place``: how many are lower, where they end, the last
    one's key and whether the next one is the key's; and where the digest of the subtree between them stands, or 0."""
    if len(block) > _MAX_NODE_BYTES:
        raise NotUsualError("a large node")
    start, found = find_pieces(block)
    lower, before, tree = 0, b"", b""
    here = False
    for piece, _, suffix, p, below, _ in found:
        this = before[: SHARED.get(p, 0)] + suffix  # in a sound node p is one of them
        if this >= key:
            here = this == key
            break
        lower += 1
        start += len(piece)
        before, tree = this, below
    if lower:
        return found, lower, start, before, here, start - TREE_FROM_END if tree else 0
    return found, 0, start, b"", here, len(block) - DIGEST_BYTES if has_left(block) else 0
