from __future__ import annotations

from typing import Any

import pytest

import naive_repo
from headwater.blocks import MemoryBlocks
from headwater.cid import parse_cid_text
from headwater.errors import InvalidInputError, Reason
from headwater.mst_tree import Tree
from naive_repo import cid_of
from shared_inputs import needs_inputs, read_json

VALUE = cid_of(b"\xa0")


def _stored(*trees: dict[bytes, bytes]) -> MemoryBlocks:
    blocks = MemoryBlocks()
    for tree in trees:
        for cid, block in tree.items():
            blocks.put(cid, block)
    return blocks


def _refusal(tree: Tree, key: bytes) -> Reason:
    with pytest.raises(InvalidInputError) as refused:
        tree.put(key, VALUE)
    return refused.value.reason


@needs_inputs
@pytest.mark.parametrize(
    "case", read_json("interop/firehose/commit-proof-fixtures.json"), ids=lambda case: case["comment"]
)
def test_commit_proofs(case: dict[str, Any]) -> None:
    """The operations lead from the one root to the other, and the proof's blocks suffice to lead back."""
    value = parse_cid_text(case["leafValue"])
    before, after = parse_cid_text(case["rootBeforeCommit"]), parse_cid_text(case["rootAfterCommit"])
    adds, dels = [key.encode() for key in case["adds"]], [key.encode() for key in case["dels"]]

    root, nodes = naive_repo.build_tree({key.encode(): value for key in case["keys"]})
    assert root == before
    forward = Tree(_stored(nodes), root)
    for key in adds:
        forward.put(key, value)
    for key in dels:
        assert forward.remove(key)
    root, made = forward.write()
    assert root == after

    proof = {parse_cid_text(cid) for cid in case["blocksInProof"]}
    whole = nodes | made
    backward = Tree(_stored({cid: whole[cid] for cid in proof}), after)
    for key in dels:
        backward.put(key, value)
    for key in adds:
        assert backward.remove(key)
    assert backward.write()[0] == before


def test_an_empty_tree() -> None:
    tree = Tree(MemoryBlocks(), None)
    root, nodes = naive_repo.build_tree({})
    assert tree.write() == (root, nodes)
    assert tree.get(b"a.b.c/x") is None
    assert not tree.remove(b"a.b.c/x")
    assert Tree(_stored(nodes), root).write()[0] == root


def test_a_value_can_be_replaced() -> None:
    root, nodes = naive_repo.build_tree({b"a.b.c/x": VALUE})
    tree = Tree(_stored(nodes), root)
    tree.put(b"a.b.c/x", cid_of(b"other"))
    assert tree.get(b"a.b.c/x") == cid_of(b"other")
    assert tree.write()[0] == naive_repo.build_tree({b"a.b.c/x": cid_of(b"other")})[0]


def test_what_is_loaded_and_unchanged_is_not_written_again() -> None:
    records = {f"a.b.c/{number:04d}".encode(): VALUE for number in range(300)}
    root, nodes = naive_repo.build_tree(records)
    tree = Tree(_stored(nodes), root)
    assert tree.get(b"a.b.c/0150") == VALUE
    assert tree.write() == (root, {})
    tree.put(b"a.b.c/0150x", VALUE)
    _, made = tree.write()
    assert 0 < len(made) < 20
    assert not made.keys() & nodes.keys()


def test_a_node_is_missed_only_when_it_is_needed() -> None:
    zero = [f"a.b.c/{number:04d}".encode() for number in range(60)]
    tops = [key for key in zero if naive_repo.layer(key) == 1]
    leaves = [key for key in zero if naive_repo.layer(key) == 0]
    records = dict.fromkeys(tops + leaves, VALUE)
    root, nodes = naive_repo.build_tree(records)
    tree = Tree(_stored({root: nodes[root]}), root)
    assert tree.get(tops[0]) == VALUE
    tree.put(tops[0], cid_of(b"other"))
    assert tree.write()[0] == naive_repo.build_tree(records | {tops[0]: cid_of(b"other")})[0]
    assert _refusal(tree, leaves[0]) is Reason.MST_INCOMPLETE


def test_nodes_that_are_out_of_place() -> None:
    zero = next(key for key in (b"a.b.c/%d" % n for n in range(99)) if naive_repo.layer(key) == 0)
    one = next(key for key in (b"a.b.c/%d" % n for n in range(99)) if naive_repo.layer(key) == 1)
    empty = naive_repo.node(None, [])
    of_zero, of_one = (naive_repo.node(None, [(key, VALUE, None)]) for key in (zero, one))
    for child, top, reason in (
        (of_one, one, Reason.MST_LAYER),
        (of_zero, zero, Reason.MST_LAYER),
        (empty, one, Reason.MST_MALFORMED),
    ):
        root = naive_repo.node(cid_of(child), [(top, VALUE, None)])
        tree = Tree(_stored({cid_of(block): block for block in (child, root)}), cid_of(root))
        with pytest.raises(InvalidInputError) as refused:
            tree.get(b"A")
            tree.put(next(b"A/%d" % n for n in range(99) if naive_repo.layer(b"A/%d" % n) == 1), VALUE)
        assert refused.value.reason is reason
    headless = naive_repo.node(cid_of(of_zero), [])
    with pytest.raises(InvalidInputError) as refused:
        Tree(_stored({cid_of(headless): headless, cid_of(of_zero): of_zero}), cid_of(headless))
    assert refused.value.reason is Reason.MST_LAYER


def test_a_chain_below_layer_zero_is_not_followed() -> None:
    zero = next(key for key in (b"a.b.c/%d" % n for n in range(99)) if naive_repo.layer(key) == 0)
    top = next(key for key in (b"a.b.c/%d" % n for n in range(99)) if naive_repo.layer(key) == 1)
    chain, blocks = cid_of(b"nowhere"), MemoryBlocks()
    for _ in range(3000):
        block = naive_repo.node(chain, [])
        chain = cid_of(block)
        blocks.put(chain, block)
    root = naive_repo.node(chain, [(zero, VALUE, chain)])
    blocks.put(cid_of(root), root)
    assert _refusal(Tree(blocks, cid_of(root)), top) is Reason.MST_LAYER
