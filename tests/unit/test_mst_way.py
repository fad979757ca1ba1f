"""Keys that a host has put where they do not belong: splicing takes none of them that taking nodes apart refuses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

import naive_repo
from firehose_backfill.inversion import previous_root
from headwater.blocks import FrameBlocks
from headwater.errors import InvalidInputError
from headwater.frames import Op
from headwater.mst_splice import NotUsualError, spliced_root
from headwater.mst_way import Nodes
from naive_repo import cid_of

VALUE, NEW = cid_of(b"\xa0"), cid_of(b"new")
_NUMBERED = [b"a.b.c/%04d" % number for number in range(1000)]
LAYERS = [[key for key in _NUMBERED if naive_repo.layer(key) == height] for height in range(4)]
# A small tree of four layers, and keys of each that are not in it.
HELD = sorted([*LAYERS[0][::20], *LAYERS[1][::24], *LAYERS[2][1::12], *LAYERS[3][1::5]])
NEW_KEYS = [*LAYERS[0][7::150], *LAYERS[1][7::50], *LAYERS[2][2::18], *LAYERS[3][2::5]]


@dataclass
class Branch:
    """A node that can be changed: keys with their values, and one subtree more than keys."""

    keys: list[tuple[bytes, bytes]] = field(default_factory=list)
    trees: list[Branch | None] = field(default_factory=lambda: [None])

    def encode(self, blocks: dict[bytes, bytes]) -> bytes:
        """The CID; the blocks are added, parents before children."""
        below: dict[bytes, bytes] = {}
        left, *others = [None if tree is None else tree.encode(below) for tree in self.trees]
        block = naive_repo.node(left, [(*key, tree) for key, tree in zip(self.keys, others, strict=True)])
        blocks |= {cid_of(block): block} | below
        return cid_of(block)

    def walk(self, way: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
        """The ways to all nodes, as places of subtrees."""
        yield way
        for place, tree in enumerate(self.trees):
            if tree is not None:
                yield from tree.walk((*way, place))

    def at(self, way: tuple[int, ...]) -> Branch:
        """The node at the end of a way."""
        below = self.trees[way[0]] if way else None
        return below.at(way[1:]) if below is not None else self

    def insert(self, place: int, key: bytes, cut: int) -> None:
        """Put a key in, right or wrong: of the subtree that was there, so many keys and all before them on the left."""
        below = self.trees[place]
        left, right = (None, None) if below is None else below.parted(cut)
        self.keys.insert(place, (key, NEW))
        self.trees[place : place + 1] = (left, right)

    def parted(self, cut: int) -> tuple[Branch | None, Branch | None]:
        """What is before a key, with all that is just before it, and the rest; nothing is before one too many."""
        if cut > len(self.keys):
            return None, self
        left = Branch(self.keys[:cut], self.trees[: cut + 1])
        return left, Branch(self.keys[cut:], [None, *self.trees[cut + 1 :]]) if cut < len(self.keys) else None


def _built(keys: list[bytes], height: int) -> Branch:
    tops = [key for key in keys if naive_repo.layer(key) == height]
    edges = [-1, *(keys.index(key) for key in tops), len(keys)]
    gaps = [keys[start + 1 : end] for start, end in pairwise(edges)]
    return Branch([(key, VALUE) for key in tops], [_built(gap, height - 1) if gap else None for gap in gaps])


def _tree() -> Branch:
    return _built(HELD, 3)


def _verdicts(tree: Branch, before: bytes, *keys: bytes) -> tuple[bool, bool]:
    """Whether splicing, and taking nodes apart, lead back to a root when keys are said to be new."""
    blocks: dict[bytes, bytes] = {}
    root = tree.encode(blocks)
    store = FrameBlocks(blocks)
    spliced = apart = False
    with contextlib.suppress(NotUsualError, InvalidInputError):
        spliced = spliced_root(store, root, [(key, NEW, None) for key in keys]) == before
    with contextlib.suppress(InvalidInputError):
        apart = previous_root(store, root, [_created(key) for key in keys]) == before
    return spliced, apart


def _created(key: bytes) -> Op:
    return Op("create", "a.b.c", key[6:].decode(), key, NEW, None)


def _misplaced(tree: Branch, key: bytes) -> Iterator[Branch]:
    """The tree with a key at every place of every node, and what was there on either side of it, or parted anywhere."""
    for way in tree.walk():
        for place, below in enumerate(tree.at(way).trees):
            cuts = range(len(below.keys) + 2) if below is not None else (0,)
            for cut in cuts:
                other = deepcopy(tree)
                other.at(way).insert(place, key, cut)
                yield other


def test_a_key_is_taken_out_of_its_place_only() -> None:
    before = _tree().encode({})
    right = 0
    for key in NEW_KEYS:
        for tree in _misplaced(_tree(), key):
            spliced, apart = _verdicts(tree, before, key)
            assert spliced is apart
            right += spliced
    assert right >= len(NEW_KEYS)


def test_nor_is_another_where_a_third_key_has_moved_it() -> None:
    """One key parts what was between two others, at any place; then a second one is anywhere."""
    before = _tree().encode({})
    tall = LAYERS[2][5]
    low = [key for key in LAYERS[0] if abs(int(key[6:]) - int(tall[6:])) < 60 and key not in HELD][::16]
    taken = 0
    for tree in _misplaced(_tree(), tall):
        if not all(_verdicts(tree, before, tall)):
            continue
        taken += 1
        for key in low:
            for other in _misplaced(tree, key):
                for order in ((tall, key), (key, tall)):
                    spliced, apart = _verdicts(other, before, *order)
                    assert spliced is apart
    assert taken > 1


@pytest.mark.parametrize(("depth", "found"), [(32, True), (33, False)])
def test_the_way_up_is_as_long_as_a_tree_may_be_deep(depth: int, found: bool) -> None:
    leaf = naive_repo.node(None, [(key, NEW, None) for key in LAYERS[0][:2]])
    chain = [leaf]
    for _ in range(depth):
        chain.append(naive_repo.node(cid_of(chain[-1]), []))
    blocks = {cid_of(block): block for block in reversed(chain)}
    place = Nodes(FrameBlocks(blocks)).from_value(cid_of(chain[-1]), LAYERS[0][0], NEW)
    assert (place is not None) is found


def test_a_value_is_no_link() -> None:
    """A record that is a node, and changes, behind the back of a key that is new in there."""
    low, new, high = LAYERS[0][3:6]
    holder = LAYERS[0][9]

    def blocks_of(*keys: tuple[bytes, bytes]) -> dict[bytes, bytes]:
        leaf = naive_repo.node(None, [(*key, None) for key in keys])
        top = naive_repo.node(None, [(holder, cid_of(leaf), None)])
        return {cid_of(top): top, cid_of(leaf): leaf}

    before, _ = blocks_of((low, VALUE), (high, VALUE))
    blocks = blocks_of((low, VALUE), (new, NEW), (high, VALUE))
    root, _ = blocks
    with pytest.raises(NotUsualError):
        assert spliced_root(FrameBlocks(blocks), root, [(new, NEW, None)]) != before
