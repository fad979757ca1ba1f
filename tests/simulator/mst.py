"""The Merkle search tree of a repo, changed one key at a time; what does not change is shared with the tree before.

`tree.build` makes the same trees bottom-up, and the tests hold the two against each other.
Source: https://atproto.com/specs/repository#mst-structure, https://atproto.com/specs/sync#commit-validation
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from . import tree
from .tree import height


class Branch:
    """A node that is never changed: `trees[i]` stands before `keys[i]`, the last one after all keys.

    Every subtree lies one layer below; there may be branches without keys between two that have some.
    """

    __slots__ = ("keys", "layer", "node", "trees", "values")

    def __init__(
        self, layer: int, keys: tuple[bytes, ...], values: tuple[bytes, ...], trees: tuple[Branch | None, ...]
    ) -> None:
        self.layer = layer
        self.keys = keys
        self.values = values
        self.trees = trees
        #: CID and block, once somebody has asked for them.
        self.node: tree.Node | None = None

    @property
    def bare(self) -> bool:
        return not self.keys and self.trees[0] is None


EMPTY = Branch(0, (), (), (None,))


def from_sorted(keys: Sequence[bytes], cids: Sequence[bytes]) -> Branch:
    """The tree of sorted, unique keys and the CIDs of their records."""
    return _converted(tree.build(keys, cids), keys, cids) if keys else EMPTY


def put(root: Branch, key: bytes, value: bytes) -> Branch:
    """The tree with this value under the key, whether the key was there or not."""
    layer = height(key)
    if root.bare:
        return Branch(layer, (key,), (value,), (None, None))
    if layer > root.layer:
        before, behind = _split(root, key)
        return Branch(layer, (key,), (value,), (_lifted(before, layer - 1), _lifted(behind, layer - 1)))
    return _put(root, layer, key, value)


def remove(root: Branch, key: bytes) -> Branch:
    """The tree without the key; KeyError where it is not there."""
    rest: Branch | None = _remove(root, key)
    while rest is not None and not rest.keys:
        rest = rest.trees[0]
    return EMPTY if rest is None else rest


def seal(root: Branch) -> tuple[tree.Node, list[tree.Node]]:
    """The root as a node with its CID, and the nodes that no tree sealed before had; a node before its subtrees."""
    made: list[tree.Node] = []
    return _seal(root, made), made[::-1]


def walk(root: Branch) -> Iterator[tuple[bytes, bytes]]:
    """Every (key, CID) in key order."""
    for position, subtree in enumerate(root.trees):
        if subtree is not None:
            yield from walk(subtree)
        if position < len(root.keys):
            yield root.keys[position], root.values[position]


def proof(root: Branch, key: bytes) -> list[Branch]:
    """The branches on the way to a key, or to where it would be, and to its two neighbours.

    Whoever has their blocks can put the key in or take it out, without the rest of the tree.
    """
    path, found = _path(root, key)
    last = path[-1]
    if found:
        place = bisect_left(last.keys, key)
        return path + _edge(last.trees[place], -1) + _edge(last.trees[place + 1], 0)
    # Neighbours that are not in the last branch are on the way to it.
    return path


def _path(root: Branch, key: bytes) -> tuple[list[Branch], bool]:
    path, branch = [], root
    while True:
        path.append(branch)
        place = bisect_left(branch.keys, key)
        if place < len(branch.keys) and branch.keys[place] == key:
            return path, True
        below = branch.trees[place]
        if below is None:
            return path, False
        branch = below


def _edge(branch: Branch | None, side: int) -> list[Branch]:
    """The branches along the outermost subtrees of one side."""
    edge = []
    while branch is not None:
        edge.append(branch)
        branch = branch.trees[side]
    return edge


def _put(branch: Branch, layer: int, key: bytes, value: bytes) -> Branch:
    place = bisect_left(branch.keys, key)
    if place < len(branch.keys) and branch.keys[place] == key:
        values = (*branch.values[:place], value, *branch.values[place + 1 :])
        return Branch(branch.layer, branch.keys, values, branch.trees)
    below = branch.trees[place]
    if branch.layer == layer:
        keys = (*branch.keys[:place], key, *branch.keys[place:])
        values = (*branch.values[:place], value, *branch.values[place:])
        return Branch(layer, keys, values, (*branch.trees[:place], *_split(below, key), *branch.trees[place + 1 :]))
    if below is None:
        leaf = Branch(layer, (key,), (value,), (None, None))
        return _with_tree(branch, place, _lifted(leaf, branch.layer - 1))
    return _with_tree(branch, place, _put(below, layer, key, value))


def _remove(branch: Branch, key: bytes) -> Branch | None:
    place = bisect_left(branch.keys, key)
    if place < len(branch.keys) and branch.keys[place] == key:
        keys = branch.keys[:place] + branch.keys[place + 1 :]
        values = branch.values[:place] + branch.values[place + 1 :]
        merged = _merge(branch.trees[place], branch.trees[place + 1])
        trees = (*branch.trees[:place], merged, *branch.trees[place + 2 :])
        return _unless_bare(Branch(branch.layer, keys, values, trees))
    below = branch.trees[place]
    if below is None:
        raise KeyError(key)
    return _unless_bare(_with_tree(branch, place, _remove(below, key)))


def _split(branch: Branch | None, key: bytes) -> tuple[Branch | None, Branch | None]:
    """What lies before a key that is not there, and what behind it."""
    if branch is None:
        return None, None
    place = bisect_left(branch.keys, key)
    before, behind = _split(branch.trees[place], key)
    left = Branch(branch.layer, branch.keys[:place], branch.values[:place], (*branch.trees[:place], before))
    right = Branch(branch.layer, branch.keys[place:], branch.values[place:], (behind, *branch.trees[place + 1 :]))
    return _unless_bare(left), _unless_bare(right)


def _merge(left: Branch | None, right: Branch | None) -> Branch | None:
    if left is None or right is None:
        return right if left is None else left
    middle = _merge(left.trees[-1], right.trees[0])
    trees = (*left.trees[:-1], middle, *right.trees[1:])
    return Branch(left.layer, left.keys + right.keys, left.values + right.values, trees)


def _lifted(branch: Branch | None, layer: int) -> Branch | None:
    """A branch under as many without keys as the layer asks for."""
    while branch is not None and branch.layer < layer:
        branch = Branch(branch.layer + 1, (), (), (branch,))
    return branch


def _unless_bare(branch: Branch) -> Branch | None:
    return None if branch.bare else branch


def _with_tree(branch: Branch, place: int, subtree: Branch | None) -> Branch:
    trees = (*branch.trees[:place], subtree, *branch.trees[place + 1 :])
    return Branch(branch.layer, branch.keys, branch.values, trees)


def _seal(branch: Branch, made: list[tree.Node]) -> tree.Node:
    if branch.node is None:
        nodes = [None if subtree is None else _seal(subtree, made) for subtree in branch.trees]
        entries = list(enumerate(nodes[1:]))
        branch.node = tree.node(nodes[0], entries, branch.keys, branch.values)
        made.append(branch.node)
    return branch.node


def _converted(node: tree.Node, keys: Sequence[bytes], cids: Sequence[bytes]) -> Branch:
    trees: list[Branch | None] = [None]
    places: list[int] = []
    for item in node.items:
        if isinstance(item, tree.Node):
            trees[-1] = _converted(item, keys, cids)
        else:
            places.append(item)
            trees.append(None)
    below = next((subtree for subtree in trees if subtree is not None), None)
    layer = height(keys[places[0]]) if below is None else below.layer + 1
    branch = Branch(layer, tuple(keys[at] for at in places), tuple(cids[at] for at in places), tuple(trees))
    branch.node = node
    return branch
