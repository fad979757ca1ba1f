from __future__ import annotations

from collections.abc import Mapping

import pytest

import naive_repo
from headwater.blocks import MemoryBlocks
from headwater.cid import parse_cid_text
from headwater.errors import InvalidInputError, Reason
from headwater.mst import verified_records, verify_tree, walk
from naive_repo import cid_of
from shared_inputs import INPUTS, needs_inputs

VALUE = cid_of(b"\xa0")


def _keys_of_layer(layer: int, count: int, collection: str = "app.bsky.feed.post") -> list[bytes]:
    """The first ``count`` keys that lie in a layer, in order."""
    found: list[bytes] = []
    number = 0
    while len(found) < count:
        key = f"{collection}/{number:06d}".encode()
        if naive_repo.layer(key) == layer:
            found.append(key)
        number += 1
    return found


ZERO = _keys_of_layer(0, 40)
ONE = _keys_of_layer(1, 10)
TWO = _keys_of_layer(2, 3)


class _Tree:
    """Nodes written by hand, however wrong they are."""

    def __init__(self) -> None:
        self.blocks = MemoryBlocks()

    def node(self, left: bytes | None, *entries: tuple[bytes, bytes | None]) -> bytes:
        block = naive_repo.node(left, [(key, VALUE, tree) for key, tree in entries])
        self.blocks.put(cid_of(block), block)
        return cid_of(block)

    def keys(self, root: bytes) -> list[bytes]:
        return [f"{collection}/{rkey}".encode() for collection, rkey, _ in walk(self.blocks, root)]

    def refusal(self, root: bytes) -> Reason:
        with pytest.raises(InvalidInputError) as refused:
            verify_tree(self.blocks, root)
        return refused.value.reason


def _stored(blocks: Mapping[bytes, bytes]) -> MemoryBlocks:
    memory = MemoryBlocks()
    for cid, block in blocks.items():
        memory.put(cid, block)
    return memory


def test_an_empty_repository_has_one_empty_node() -> None:
    tree = _Tree()
    root = tree.node(None)
    assert tree.keys(root) == []
    assert verify_tree(tree.blocks, root) == 0


@needs_inputs
def test_example_keys() -> None:
    """The keys of every height, of the reference's MST tests; put under a collection, for bare ones are no paths."""
    names = (INPUTS / "interop/mst/example_keys.txt").read_text().split()
    records = {f"com.example.{name}".encode(): cid_of(name.encode()) for name in names}
    root, blocks = naive_repo.build_tree(records)
    assert [(f"{collection}/{rkey}".encode(), cid) for collection, rkey, cid in walk(_stored(blocks), root)] == sorted(
        records.items()
    )
    assert verify_tree(_stored(blocks), root) == len(names) == 156


@needs_inputs
def test_a_real_listing_made_by_another_implementation() -> None:
    from headwater.car import read_car
    from headwater.commit import parse_commit

    root, pairs = read_car((INPUTS / "cars/calabro-small.car").read_bytes())
    blocks = _stored(dict(pairs))
    lines = (INPUTS / "cars/calabro-small.records.tsv").read_text().splitlines()
    listed = [(path, parse_cid_text(cid)) for path, cid in (line.split("\t") for line in lines)]
    data = parse_commit(blocks.get(root)).data
    assert [(f"{collection}/{rkey}", cid) for collection, rkey, cid in walk(blocks, data)] == listed


def test_layers_may_be_skipped_by_nodes_without_entries() -> None:
    tree = _Tree()
    low = [key for key in ZERO if key < TWO[0]]
    leaf = tree.node(None, *((key, None) for key in low))
    root = tree.node(tree.node(leaf), (TWO[0], None))
    assert tree.keys(root) == [*low, TWO[0]]


def test_a_layer_cannot_be_left_out() -> None:
    tree = _Tree()
    low = [key for key in ZERO if key < TWO[0]]
    leaf = tree.node(None, *((key, None) for key in low))
    assert tree.refusal(tree.node(leaf, (TWO[0], None))) is Reason.MST_LAYER


def test_keys_of_two_layers_on_one_node() -> None:
    tree = _Tree()
    assert tree.refusal(tree.node(None, *((key, None) for key in sorted([ZERO[0], ONE[0]])))) is Reason.MST_LAYER


def test_a_subtree_below_layer_zero() -> None:
    tree = _Tree()
    assert tree.refusal(tree.node(tree.node(None, (ZERO[0], None)), (ZERO[1], None))) is Reason.MST_LAYER


def test_a_chain_below_layer_zero_is_not_followed() -> None:
    tree = _Tree()
    chain: bytes | None = cid_of(b"nowhere")
    for _ in range(300):
        chain = tree.node(chain)
    assert tree.refusal(tree.node(chain, (ZERO[0], None))) is Reason.MST_LAYER


def test_a_root_that_only_points_down() -> None:
    tree = _Tree()
    assert tree.refusal(tree.node(tree.node(None, (ZERO[0], None)))) is Reason.MST_LAYER


def test_an_empty_node_inside_the_tree() -> None:
    tree = _Tree()
    assert tree.refusal(tree.node(tree.node(None), (ONE[0], None))) is Reason.MST_MALFORMED


def test_a_left_subtree_with_a_greater_key() -> None:
    tree = _Tree()
    later = next(key for key in ZERO if key > ONE[0])
    assert tree.refusal(tree.node(tree.node(None, (later, None)), (ONE[0], None))) is Reason.MST_ORDER


def test_a_right_subtree_with_a_smaller_key() -> None:
    tree = _Tree()
    earlier = next(key for key in ZERO if key < ONE[5])
    assert tree.refusal(tree.node(None, (ONE[5], tree.node(None, (earlier, None))))) is Reason.MST_ORDER


def test_a_subtree_that_reaches_past_the_next_key() -> None:
    tree = _Tree()
    later = next(key for key in ZERO if key > ONE[1])
    root = tree.node(None, (ONE[0], tree.node(None, (later, None))), (ONE[1], None))
    assert tree.refusal(root) is Reason.MST_ORDER


def test_the_same_subtree_twice_dies_at_the_second_visit() -> None:
    tree = _Tree()
    between = [key for key in ZERO if ONE[0] < key < ONE[1]] or ZERO[-1:]
    leaf = tree.node(None, *((key, None) for key in between))
    reads = 0
    get = tree.blocks.get

    class Counting:
        def get(self, cid: bytes) -> bytes:
            nonlocal reads
            reads += 1
            return get(cid)

    root = tree.node(None, (ONE[0], leaf), (ONE[1], leaf), (ONE[2], leaf), (ONE[3], leaf))
    with pytest.raises(InvalidInputError) as refused:
        list(walk(Counting(), root))
    assert refused.value.reason is Reason.MST_ORDER
    assert reads <= 3


def test_a_missing_node_and_a_missing_root() -> None:
    tree = _Tree()
    assert tree.refusal(tree.node(cid_of(b"nowhere"), (ONE[0], None))) is Reason.MST_INCOMPLETE
    assert tree.refusal(cid_of(b"nowhere")) is Reason.MST_INCOMPLETE


@pytest.mark.parametrize(
    "key",
    [
        b"app.bsky.feed.post",
        b"app.bsky.feed.post/a/b",
        b"app.bsky.feed.post/..",
        b"post/a",
        b"app.b.c/a\x00",
        b"app.b.c/\xff",
    ],
)
def test_keys_that_are_no_paths(key: bytes) -> None:
    tree = _Tree()
    assert tree.refusal(tree.node(None, (key, None))) is Reason.MST_KEY


def test_a_record_that_is_a_node_of_a_tree() -> None:
    tree = _Tree()
    inner = tree.node(None, (ZERO[1], None))
    block = naive_repo.node(None, [(ZERO[0], inner, None)])
    tree.blocks.put(cid_of(block), block)
    assert tree.refusal(cid_of(block)) is Reason.MST_MALFORMED


def test_a_missing_record_is_not_the_trees_fault() -> None:
    tree = _Tree()
    assert verify_tree(tree.blocks, tree.node(None, (ZERO[0], None))) == 1


@pytest.mark.parametrize("keep", [0, 1, 199, 200, 1000])
def test_verified_records_are_kept_or_walked_again(keep: int) -> None:
    records = {f"a.b.c/{number:04d}".encode(): VALUE for number in range(200)}
    root, nodes = naive_repo.build_tree(records)
    blocks = _stored(nodes)
    count, listed = verified_records(blocks, root, keep)
    assert count == 200
    assert list(listed) == list(walk(blocks, root))
    assert isinstance(listed, list) is (keep >= 200)
