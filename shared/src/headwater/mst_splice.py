"""The usual writes on a tree, in half the time of ``headwater.mst_tree``, by splicing the bytes of its nodes.

A write changes an entry of one node, and in each node above it one link. All other bytes stay, so nodes are not taken
apart: it is found where in them the key and the links to it stand (``headwater.mst_way``), and the new bytes are put
between the old ones.

Checked is only what gets lost on the way: an entry that goes or is encoded anew, a node that goes or is merged. What
else may be wrong with a node is wrong in the new tree as well. So the root that comes out counts only where it is known
to be that of a sound tree; then the tree that was read is sound too, and differs from that by the writes alone.

With one exception: where a key with subtrees beside it is taken out, nobody looks whether each of their keys is on its
right side. So of several writes the trees before the last such one may be out of order even if that of the root is not,
and there the way to a key is found from the root.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headwater.blocks import FrameBlocks
from headwater.cid import DAG_CBOR_PREFIX, PREFIX_LENGTH
from headwater.mst_node import layer_of
from headwater.mst_pieces import (
    DIGEST_BYTES,
    EMPTY_NODE,
    LINK,
    NULL,
    SHARED,
    FoundPiece,
    encode_piece,
    find_pieces,
    join_node,
    key_at,
    key_behind,
    left_of,
    node_head,
    retree_piece,
    revalue_piece,
)
from headwater.mst_way import MAX_DEPTH, Nodes, NotUsualError, Place

Write = tuple[bytes, bytes | None, bytes | None]
"""A key, and the CIDs of the value that it has and of the one that it is to have; None for no value."""

__all__: Final = ("NotUsualError", "Write", "spliced_root")


def spliced_root(blocks: FrameBlocks, root: bytes, writes: Sequence[Write]) -> bytes:
    """The CID of the root after writes, of which no two are on one key, if the tree that it is the root of is sound.

    Raises NotUsualError, also where a key does not have the value that it is said to have, and InvalidInputError for a
    block that is missing.
    """
    tree = _SplicedTree(blocks, root)
    layers: list[int] = []
    last = 0
    for place, (key, _, then) in enumerate(writes):
        layers.append(layer_of(key))
        if then is None and layers[place]:
            last = place
    for place, (key, now, then) in enumerate(writes):
        if now is None:
            tree.insert(key, then, layers[place])
        elif then is None:
            tree.remove(key, now, layers[place], sure=place >= last)
        else:
            tree.replace(key, now, then, sure=place >= last)
    return tree.root


class _SplicedTree:
    """A tree that is written to. ``sure``: what a write leaves behind is sound if what the last one does is."""

    def __init__(self, blocks: FrameBlocks, root: bytes) -> None:
        self.root = root
        self._nodes = Nodes(blocks)

    def remove(self, key: bytes, value: bytes, layer: int, *, sure: bool) -> None:
        """Take out a key that has this value."""
        place = self._place(key, value, sure=sure)
        found, index, before = place.found, place.lower, place.before
        _check_layer(place, key, layer)
        piece, _, _, p, right, _ = found[index]
        if key_behind(before, found[index]) is None:
            raise NotUsualError("no node")
        end, between = place.start + len(piece), b""
        subtree = self._merged(place.subtree(), right, MAX_DEPTH) if right else None
        if index + 1 < len(found):
            between = _closed_up(found[index + 1], key, p, before)
            end += len(found[index + 1][0])
        self._lead_to(_respliced(place, subtree, between, place.block[end:], len(found) - 1), place)

    def insert(self, key: bytes, value: bytes | None, layer: int) -> None:
        """Put a key in that is not there."""
        top = key_at(self._nodes.read(self.root))
        steps = -1 if top is None else layer_of(top) - layer
        place = self._nodes.from_root(self.root, key, steps)
        if place.here or value is None or len(place.above) != steps:
            raise NotUsualError("there already, or nothing is near where it belongs")
        found, index, end, before = place.found, place.lower, place.start, place.before
        left, right = self._parted(place.subtree(), key, MAX_DEPTH)
        between = encode_piece(before, key, value[PREFIX_LENGTH:], right or None)
        if index < len(found):
            between += _moved(found[index], before, key)
            end += len(found[index][0])
        self._lead_to(_respliced(place, left if place.at else None, between, place.block[end:], len(found) + 1), place)

    def replace(self, key: bytes, value: bytes, other: bytes, *, sure: bool) -> None:
        """Give a key another value than this one."""
        place = self._place(key, value, sure=sure)
        piece = revalue_piece(place.found[place.lower][0], other[PREFIX_LENGTH:])
        start = place.start
        self._lead_to(place.block[:start] + piece + place.block[start + len(piece) :], place)

    def _place(self, key: bytes, value: bytes, *, sure: bool) -> Place:
        place = self._nodes.from_value(self.root, key, value) if sure else None
        if place is None:
            place = self._nodes.from_root(self.root, key)
        if not place.here or place.found[place.lower][5] != value[PREFIX_LENGTH:]:
            raise NotUsualError("another value, or none")
        return place

    def _merged(self, left: bytes, right: bytes, depth: int) -> bytes:
        """Two neighbouring subtrees as one; empty where there is none."""
        if not left or not right:
            return left or right
        if not depth:
            raise NotUsualError("too deep")
        one, other = (self._nodes.take(DAG_CBOR_PREFIX + digest) for digest in (left, right))
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
        return self._nodes.add(join_node(pieces, before or None))

    def _parted(self, tree: bytes, key: bytes, depth: int) -> tuple[bytes, bytes]:
        """What of a subtree is before a key, and what behind; empty where there is nothing."""
        if not tree:
            return b"", b""
        place = self._nodes.at(DAG_CBOR_PREFIX + tree, key)
        found, index = place.found, place.lower
        left = left_of(place.block, found)
        if left is None or place.here or not depth or place.block == EMPTY_NODE:
            raise NotUsualError("no node, or too deep")
        below, behind = self._parted(place.subtree(), key, depth - 1)
        pieces = [one[0] for one in found]
        if index:
            pieces[index - 1] = retree_piece(found[index - 1], below)
            below = left
        if index < len(found):
            pieces[index] = _moved(found[index], place.before, b"")
        parts = join_node(pieces[:index], below or None), join_node(pieces[index:], behind or None)
        one, other = (b"" if part == EMPTY_NODE else self._nodes.add(part) for part in parts)
        return one, other

    def _lead_to(self, block: bytes, place: Place) -> None:
        """Put a changed node in the tree, nothing for one in which nothing is left, and have the ones above link it."""
        above = place.above
        self._nodes.drop(place.cid)
        while block == EMPTY_NODE and above:
            (cid, passed, at), *above = above
            self._nodes.drop(cid)
            if passed != join_node([], passed[at:]):
                block = passed[: at - len(LINK)] + NULL + passed[at + DIGEST_BYTES :]
        self.root = self._nodes.put(block, above)


def _check_layer(place: Place, key: bytes, layer: int) -> None:
    """Check that a node is of a key's layer, by the key before it, or else by the first key of the root."""
    if place.lower:
        of_node = layer_of(place.before)
    else:
        top = key_at(place.above[-1][1] if place.above else place.block)
        if top is None or top == key:
            raise NotUsualError("no other key tells the root's layer")
        of_node = layer_of(top) - len(place.above)
    if of_node != layer:
        raise NotUsualError("the key is not of this layer")


def _respliced(place: Place, subtree: bytes | None, between: bytes, rest: bytes, count: int) -> bytes:
    """The node with ``count`` pieces: the lower ones, then ``subtree`` (None: the one that is there), then ``between``
    and ``rest``."""
    block, found, index, start = place.block, place.found, place.lower, place.start
    head = node_head(len(found))
    if not block.startswith(head):
        raise NotUsualError("no node")
    lower = block[len(head) : start]
    if subtree is not None:
        if index:
            last = found[index - 1]
            lower = block[len(head) : start - len(last[0])] + retree_piece(last, subtree)
        else:
            left = left_of(block, found)
            if left is None:
                raise NotUsualError("no node")
            rest = rest[: -len(left) - len(LINK)] if left else rest[: -len(NULL)]
            rest += LINK + subtree if subtree else NULL
    return node_head(count) + lower + between + rest


def _moved(found: FoundPiece, behind: bytes, to: bytes) -> bytes:
    """A piece that stands behind the one key as it is behind another."""
    key = key_behind(behind, found)
    if key is None:
        raise NotUsualError("no node")
    return found[0] if key_behind(to, found) == key else encode_piece(to, key, found[5], found[4] or None)


def _closed_up(found: FoundPiece, key: bytes, p: bytes, before: bytes) -> bytes:
    """A piece that stands behind a key, once that one, which had ``p`` in common with ``before``, is gone."""
    this = key_behind(key, found)
    if this is None:
        raise NotUsualError("no node")
    # Of keys in order, the first and the third have in common what both have with the second.
    return found[0] if SHARED[found[3]] <= SHARED[p] else encode_piece(before, this, found[5], found[4] or None)


def _last_key(found: list[FoundPiece]) -> bytes:
    key = b""
    for _, _, suffix, p, _, _ in found:
        key = key[: SHARED.get(p, 0)] + suffix
    return key
