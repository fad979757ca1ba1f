"""One opened node of a tree: what it holds, how that is changed, and how it is written again.

Values and subtrees are digests here, the 32 bytes of a CID behind its prefix.
"""

from __future__ import annotations

from bisect import bisect_left

from headwater.cid import PREFIX_LENGTH, cid_of
from headwater.mst_pieces import encode_piece, join_node, relink_piece, revalue_piece


class Branch:
    """An opened node: ``trees[i]`` stands before ``keys[i]``, and the last one after all keys.

    Values and subtrees that are not opened are digests. ``pieces`` are the encoded entries, None where the entry has
    changed, ``digest`` is the node's own, None when anything in it or below it has.
    """

    __slots__ = ("digest", "keys", "layer", "pieces", "trees", "values")

    def __init__(
        self,
        layer: int,
        pieces: list[bytes | None],
        keys: list[bytes],
        values: list[bytes],
        trees: list[Subtree],
        digest: bytes | None = None,
    ) -> None:
        self.layer = layer
        self.pieces = pieces
        self.keys = keys
        self.values = values
        self.trees = trees
        self.digest = digest

    def find(self, key: bytes) -> tuple[int, bool]:
        """The place of a key in this node, and whether it is there."""
        index = bisect_left(self.keys, key)
        return index, index < len(self.keys) and self.keys[index] == key

    def is_bare(self) -> bool:
        """Whether nothing is in it or below it."""
        return not self.keys and self.trees[0] is None

    def set_value(self, index: int, value: bytes) -> bytes:
        """Change the value of a key; the value before."""
        before, piece = self.values[index], self.pieces[index]
        self.values[index] = value
        self.pieces[index] = None if piece is None else revalue_piece(piece, value)
        return before

    def insert(self, index: int, key: bytes, value: bytes, around: tuple[Subtree, Subtree]) -> None:
        """Put a key in, with what then stands before and behind it."""
        self.keys.insert(index, key)
        self.values.insert(index, value)
        self.pieces.insert(index, None)
        self.trees[index : index + 1] = around
        self.touch(index - 1)
        self.touch(index + 1)

    def delete(self, index: int, merged: Subtree) -> bytes:
        """Take a key out, ``merged`` in place of what stood around it; its value."""
        value = self.values[index]
        del self.keys[index], self.values[index], self.pieces[index]
        self.trees[index : index + 2] = [merged]
        self.touch(index - 1)
        self.touch(index)
        return value

    def set_tree(self, index: int, tree: Subtree) -> None:
        """Put a subtree where there was none, or none where there was one."""
        self.trees[index] = tree
        self.touch(index - 1)

    def touch(self, index: int) -> None:
        """Forget the encoding of an entry, where there is one; a key's depends on the key before it."""
        if 0 <= index < len(self.pieces):
            self.pieces[index] = None


Subtree = Branch | bytes | None
"""Nothing, the digest of a node still to be loaded, or an opened one."""


def empty(layer: int) -> Branch:
    """A node with nothing in it."""
    return Branch(layer, [], [], [], [None])


def write(branch: Branch, made: dict[bytes, bytes]) -> bytes:
    """The digest of a branch; the block of each one that has changed goes into ``made``."""
    if branch.digest is not None:
        return branch.digest
    pieces, keys = branch.pieces, branch.keys
    trees: list[bytes | None] = []
    for index, tree in enumerate(branch.trees):
        if isinstance(tree, Branch):
            digest = write(tree, made)
            # The piece is intact, so the branch has been opened from the subtree that the piece names.
            if tree.digest is None and index and (piece := pieces[index - 1]) is not None:
                pieces[index - 1] = relink_piece(piece, digest)
            tree = digest
        trees.append(tree)
    written = [
        encode_piece(keys[index - 1] if index else b"", keys[index], branch.values[index], trees[index + 1])
        if piece is None
        else piece
        for index, piece in enumerate(pieces)
    ]
    block = join_node(written, trees[0])
    cid = cid_of(block)
    made[cid] = block
    return cid[PREFIX_LENGTH:]
