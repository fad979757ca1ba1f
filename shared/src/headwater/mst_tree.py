"""A Merkle Search Tree that can be changed, on top of blocks of which only some may be there.

It answers two questions. Which root has the tree after these writes? And, read backwards, which root had it before
(the inversion of a commit's operations: https://atproto.com/specs/sync#commit-validation)? For the second, a frame
carries the nodes along the changed paths and beside them; subtrees that no change touches are never opened, and one
that would have to be opened and is not there is an error.

Each node is opened once, and what no change touches is written back as the bytes that were read. Recursion is as deep
as layers are, 129 at most, because a subtree's layer is always its parent's less one.
"""

from __future__ import annotations

from headwater.blocks import Blocks
from headwater.cid import DAG_CBOR_PREFIX, PREFIX_LENGTH
from headwater.errors import InvalidInputError, Reason
from headwater.mst_branch import Branch, Subtree, empty, write
from headwater.mst_node import layer_of
from headwater.mst_pieces import split_node


class Tree:
    """The tree of a root CID (None: an empty one), with nodes loaded from ``blocks`` as they are needed.

    All methods raise InvalidInputError: MST_INCOMPLETE for a node that is needed and not there, MST_LAYER or
    MST_MALFORMED for one that is no node of this place. The order of keys over the whole tree is not checked here, nor
    are the layers of keys in nodes that are only passed through; that is for ``headwater.mst.walk``, or for the root
    that comes out in the end: if it is that of a sound tree, what was passed through is as it is there. A tree that
    has refused a change is of no more use.
    """

    def __init__(self, blocks: Blocks, root: bytes | None) -> None:
        self._blocks = blocks
        self._root = empty(0) if root is None else self._load_root(root)

    def get(self, key: bytes) -> bytes | None:
        """The value (a record's CID) of a key."""
        branch: Branch | None = self._root
        while branch is not None:
            index, found = branch.find(key)
            if found:
                return DAG_CBOR_PREFIX + branch.values[index]
            branch = self._open(branch, index)
        return None

    def put(self, key: bytes, value: bytes) -> bytes | None:
        """Set the value of a key, new or not; the value before."""
        layer = layer_of(key)
        if self._root.is_bare():
            self._root = empty(layer)
        while self._root.layer < layer:
            self._root = Branch(self._root.layer + 1, [], [], [], [self._root])
        branch = self._root
        while branch.layer > layer:
            branch.digest = None
            index, found = branch.find(key)
            if found:
                raise _misplaced(key, branch)
            below = self._open(branch, index)
            if below is None:
                below = empty(branch.layer - 1)
                branch.set_tree(index, below)
            branch = below
        branch.digest = None
        index, found = branch.find(key)
        if found:
            return DAG_CBOR_PREFIX + branch.set_value(index, value[PREFIX_LENGTH:])
        _check_layer(branch)
        branch.insert(index, key, value[PREFIX_LENGTH:], self._split(branch.trees[index], layer - 1, key))
        return None

    def remove(self, key: bytes) -> bytes | None:
        """Take a key out; the value that it had, or None, and nothing is changed, when it is not in the tree."""
        branch = self._root
        above: list[tuple[Branch, int]] = []
        index, found = branch.find(key)
        while not found:
            below = self._open(branch, index)
            if below is None:
                return None
            above.append((branch, index))
            branch = below
            index, found = branch.find(key)
        _check_layer(branch)
        merged = self._merge(branch.trees[index], branch.trees[index + 1], branch.layer - 1)
        value = branch.delete(index, merged)
        branch.digest = None
        for parent, place in reversed(above):
            parent.digest = None
            if branch.is_bare():
                parent.set_tree(place, None)
            branch = parent
        self._trim()
        return DAG_CBOR_PREFIX + value

    def write(self) -> tuple[bytes, dict[bytes, bytes]]:
        """The CID of the root as it is now, and the blocks by CID of the nodes that were not loaded but made."""
        made: dict[bytes, bytes] = {}
        return DAG_CBOR_PREFIX + write(self._root, made), made

    def _trim(self) -> None:
        """Make the highest node with a key the root."""
        root = self._root
        while not root.keys:
            below = self._open(root, 0)
            if below is None:
                root = empty(0)
                break
            root = below
        self._root = root

    def _load_root(self, cid: bytes) -> Branch:
        branch = self._load(cid[PREFIX_LENGTH:], 0)
        if branch.keys:
            branch.layer = layer_of(branch.keys[0])
        elif branch.trees[0] is not None:
            raise InvalidInputError(Reason.MST_LAYER, "the root has no entry of its own")
        return branch

    def _open(self, parent: Branch, index: int) -> Branch | None:
        """The branch at a place of its parent, which keeps it."""
        subtree = parent.trees[index]
        if isinstance(subtree, bytes):
            subtree = parent.trees[index] = self._opened(subtree, parent.layer - 1)
        return subtree

    def _opened(self, subtree: Branch | bytes, layer: int) -> Branch:
        """The branch of a subtree, which has to be of this layer."""
        if isinstance(subtree, Branch):
            return subtree
        branch = self._load(subtree, layer)
        if layer < 0:
            raise InvalidInputError(Reason.MST_LAYER, "a subtree below layer 0")
        if branch.is_bare():
            raise InvalidInputError(Reason.MST_MALFORMED, "an empty node inside the tree")
        return branch

    def _load(self, digest: bytes, layer: int) -> Branch:
        try:
            block = self._blocks.get(DAG_CBOR_PREFIX + digest)
        except InvalidInputError:
            raise InvalidInputError(Reason.MST_INCOMPLETE, f"node {digest.hex()} is missing") from None
        pieces, keys, values, trees = split_node(block)
        return Branch(layer, pieces, keys, values, [*trees], digest)

    def _split(self, subtree: Subtree, layer: int, key: bytes) -> tuple[Subtree, Subtree]:
        """What of a subtree lies before ``key`` and what behind it."""
        if subtree is None:
            return None, None
        whole = _check_layer(self._opened(subtree, layer))
        index, _ = whole.find(key)
        before, after = self._split(whole.trees[index], layer - 1, key)
        pieces, keys, values, trees = whole.pieces, whole.keys, whole.values, whole.trees
        left = Branch(layer, pieces[:index], keys[:index], values[:index], [*trees[:index], before])
        right = Branch(layer, pieces[index:], keys[index:], values[index:], [after, *trees[index + 1 :]])
        left.touch(index - 1)
        right.touch(0)
        return None if left.is_bare() else left, None if right.is_bare() else right

    def _merge(self, left: Subtree, right: Subtree, layer: int) -> Subtree:
        """Two neighbouring subtrees as one."""
        if left is None or right is None:
            return right if left is None else left
        one, other = _check_layer(self._opened(left, layer)), _check_layer(self._opened(right, layer))
        middle = self._merge(one.trees[-1], other.trees[0], layer - 1)
        merged = Branch(
            layer,
            one.pieces + other.pieces,
            one.keys + other.keys,
            one.values + other.values,
            [*one.trees[:-1], middle, *other.trees[1:]],
        )
        merged.touch(len(one.keys) - 1)
        merged.touch(len(one.keys))
        return merged


def _check_layer(branch: Branch) -> Branch:
    """A branch that is to be changed, if all its keys are of its layer."""
    for key in branch.keys:
        if layer_of(key) != branch.layer:
            raise _misplaced(key, branch)
    return branch


def _misplaced(key: bytes, branch: Branch) -> InvalidInputError:
    return InvalidInputError(Reason.MST_LAYER, f"{key[:80]!r} is not of layer {branch.layer}")
