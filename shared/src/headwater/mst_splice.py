"""The usual writes on a tree, in half the time of ``headwater.mst_tree``, by splicing the bytes of its nodes.

A write changes an entry of one node, and in each node above it one link. All other bytes stay, so nodes are not taken
apart: it is found where in them the key and the links to it stand, and the new bytes are put between the old ones.

Checked is only what gets lost on the way: an entry that goes or is encoded anew, a node that goes or is merged. What
else may be wrong with a node is wrong in the new tree as well. So the root that comes out counts only where it is known
to be that of a sound tree; then the tree that was read is sound too, and differs from that by the writes alone.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple

from headwater.blocks import Blocks
from headwater.cid import DAG_CBOR_PREFIX, PREFIX_LENGTH
from headwater.mst_node import layer_of
from headwater.mst_pieces import (
    DIGEST_BYTES,
    EMPTY_NODE,
    LINK,
    NULL,
    SHARED,
    TREE_FROM_END,
    FoundPiece,
    encode_piece,
    find_pieces,
    has_left,
    join_node,
    key_behind,
    left_of,
    retree_piece,
    revalue_piece,
)

# A repo of a million records has nodes of 2 KB, 12 deep; each write reads those on its way.
_MAX_NODE_BYTES: Final = 16_384
_MAX_DEPTH: Final = 32


class NotUsualError(Exception):
    """Not to be had by splicing; ``headwater.mst_tree`` can do it, or knows what is wrong."""


class _Place(NamedTuple):
    """Where the way to a key ends.

    ``above`` are the nodes passed through, and where in each the digest of the next one stands. In ``block`` ``lower``
    pieces, which end at ``start``, have lower keys, the last of them ``before``. ``here``: the next one is the key's.
    ``top`` is the first key of the root.
    """

    above: list[tuple[bytes, int]]
    block: bytes
    found: list[FoundPiece]
    lower: int
    start: int
    before: bytes
    here: bool
    top: bytes


class SplicedTree:
    """The tree of a root CID, its nodes in ``blocks``. Writes raise NotUsualError, and InvalidInputError as a missing
    block does; the tree is of no more use then."""

    def __init__(self, blocks: Blocks, root: bytes) -> None:
        self._blocks = blocks
        self._root = root[PREFIX_LENGTH:]
        self._made: dict[bytes, bytes] = {}

    @property
    def root(self) -> bytes:
        """The CID of the root as it is now."""
        return DAG_CBOR_PREFIX + self._root

    def remove(self, key: bytes) -> bytes | None:
        """Take a key out; the value that it had, or None, and nothing is changed, when it is not in the tree."""
        place = self._place(key)
        if not place.here:
            return None
        if place.top == key:
            raise NotUsualError("the key by which the root's layer was told")
        _check_layer(place, key)
        found, index = place.found, place.lower
        left = left_of(place.block, found)
        if left is None or key_behind(place.before, found[index]) is None:
            raise NotUsualError("no node")
        pieces = [one[0] for one in found]
        if index + 1 < len(found):
            pieces[index + 1] = _moved(found[index + 1], key, place.before)
        if not index:
            left = self._merged(left, found[index][4], _MAX_DEPTH)
        elif found[index][4]:
            merged = self._merged(found[index - 1][4], found[index][4], _MAX_DEPTH)
            pieces[index - 1] = retree_piece(found[index - 1], merged)
        del pieces[index]
        self._lead_to(join_node(pieces, left or None), place.above)
        return DAG_CBOR_PREFIX + found[index][5]

    def put(self, key: bytes, value: bytes) -> bytes | None:
        """Set the value of a key, new or not; the value before."""
        place = self._place(key)
        found, index, digest = place.found, place.lower, value[PREFIX_LENGTH:]
        if place.here:
            piece = found[index][0]
            end = place.start + len(piece)
            changed = place.block[: place.start] + revalue_piece(piece, digest) + place.block[end:]
            self._lead_to(changed, place.above)
            return DAG_CBOR_PREFIX + found[index][5]
        _check_layer(place, key)
        left = left_of(place.block, found)
        if left is None:
            raise NotUsualError("no node")
        pieces = [one[0] for one in found]
        if index < len(found):
            pieces[index] = _moved(found[index], place.before, key)
        pieces.insert(index, encode_piece(place.before, key, digest, None))
        self._lead_to(join_node(pieces, left or None), place.above)
        return None

    def _place(self, key: bytes) -> _Place:
        """Where a key is, or where it would be as far as there are subtrees."""
        above: list[tuple[bytes, int]] = []
        digest, top = self._root, b""
        while len(above) < _MAX_DEPTH:
            block = self._made.get(digest) or self._blocks.get(DAG_CBOR_PREFIX + digest)
            start, found = find_pieces(block)
            if len(block) > _MAX_NODE_BYTES:
                raise NotUsualError("a large node")
            if not above:
                if not found:
                    raise NotUsualError("a root without keys")
                top = found[0][2]
            index, before, this, digest = 0, b"", b"", b""
            for piece, _, suffix, p, tree, _ in found:
                this = before[: SHARED.get(p, 0)] + suffix  # in a sound node p is one of them
                if this >= key:
                    break
                index += 1
                start += len(piece)
                before, digest = this, tree
            at = start - TREE_FROM_END
            if not index and has_left(block):
                at = len(block) - DIGEST_BYTES
                digest = block[at:]
            if this == key or not digest:
                return _Place(above, block, found, index, start, before, this == key, top)
            above.append((block, at))
        raise NotUsualError("too deep")

    def _read(self, digest: bytes) -> bytes:
        block = self._made.get(digest) or self._blocks.get(DAG_CBOR_PREFIX + digest)
        if len(block) > _MAX_NODE_BYTES:
            raise NotUsualError("a large node")
        return block

    def _merged(self, left: bytes, right: bytes, depth: int) -> bytes:
        """Two neighbouring subtrees as one; digests, empty where there is none."""
        if not left or not right:
            return left or right
        if not depth:
            raise NotUsualError("too deep")
        one, other = self._read(left), self._read(right)
        found, behind = find_pieces(one)[1], find_pieces(other)[1]
        before, between = left_of(one, found), left_of(other, behind)
        if before is None or between is None or EMPTY_NODE in (one, other):
            raise NotUsualError("no nodes")
        pieces = [one[0] for one in found + behind]
        middle = self._merged(found[-1][4] if found else before, between, depth - 1)
        if not found:
            before = middle
        else:
            pieces[len(found) - 1] = retree_piece(found[-1], middle)
            if behind:
                pieces[len(found)] = _moved(behind[0], b"", _last_key(found))
        return self._add(join_node(pieces, before or None))

    def _lead_to(self, block: bytes, above: list[tuple[bytes, int]]) -> None:
        """Put a changed node in the tree, nothing for one in which nothing is left, and have the ones above link it."""
        digest = b"" if block == EMPTY_NODE else self._add(block)
        for passed, at in reversed(above):
            if digest:
                block = passed[:at] + digest + passed[at + DIGEST_BYTES :]
            elif passed == join_node([], passed[at:]):
                continue
            else:
                block = passed[: at - len(LINK)] + NULL + passed[at + DIGEST_BYTES :]
            digest = sha256(block).digest()
            self._made[digest] = block
        self._root = digest

    def _add(self, block: bytes) -> bytes:
        digest = sha256(block).digest()
        self._made[digest] = block
        return digest


def _check_layer(place: _Place, key: bytes) -> None:
    if layer_of(place.top) - len(place.above) != layer_of(key):
        raise NotUsualError("the key is not of this layer, or a subtree has to be split")


def _moved(found: FoundPiece, behind: bytes, to: bytes) -> bytes:
    """A piece that stands behind the one key as it is behind another."""
    key = key_behind(behind, found)
    if key is None:
        raise NotUsualError("no node")
    return found[0] if key_behind(to, found) == key else encode_piece(to, key, found[5], found[4] or None)


def _last_key(found: list[FoundPiece]) -> bytes:
    key = b""
    for _, _, suffix, p, _, _ in found:
        key = key[: SHARED.get(p, 0)] + suffix
    return key
