"""Writes by splicing: what is usual, and that nothing wrong with a tree gets lost on the way to the one before."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

import naive_repo
from headwater.blocks import MemoryBlocks
from headwater.errors import InvalidInputError
from headwater.mst_splice import NotUsualError, Write, spliced_root
from naive_repo import cid_of

VALUE, OTHER = cid_of(b"\xa0"), cid_of(b"other")
KEYS = [b"a.b.c/%04d" % number for number in range(2000)]
ZERO, ONE, TWO = ([key for key in KEYS if naive_repo.layer(key) == layer] for layer in range(3))
MANY = dict.fromkeys(KEYS[:400:2], VALUE)

Nodes = dict[bytes, bytes]


def _removed(nodes: Nodes, root: bytes, *keys: bytes) -> bytes | None:
    """The root without the keys, as far as that is usual."""
    return _spliced(nodes, root, *((key, VALUE, None) for key in keys))


def _spliced(nodes: Nodes, root: bytes, *writes: Write) -> bytes | None:
    """The root after writes, as far as that is usual."""
    try:
        return spliced_root(MemoryBlocks([*nodes.items()]), root, writes)
    except (NotUsualError, InvalidInputError):
        return None


def _of(*blocks: bytes) -> tuple[Nodes, bytes]:
    """Nodes, the last of which is the root."""
    return {cid_of(block): block for block in blocks}, cid_of(blocks[-1])


def _roots_without(records: dict[bytes, bytes], keys: Iterable[bytes]) -> dict[bytes, tuple[bytes | None, bytes]]:
    """By key the root without it, found by splicing, and the true one."""
    root, nodes = naive_repo.build_tree(records)
    rest = {key: {other: value for other, value in records.items() if other != key} for key in keys}
    return {key: (_removed(nodes, root, key), naive_repo.build_tree(left)[0]) for key, left in rest.items()}


def test_nearly_every_new_key_can_be_taken_out() -> None:
    roots = _roots_without(MANY, MANY)
    assert all(spliced in (None, true) for spliced, true in roots.values())
    assert sum(spliced is not None for spliced, _ in roots.values()) >= len(MANY) - 2


def test_values_and_keys_are_put_back() -> None:
    root, nodes = naive_repo.build_tree(MANY)
    usual = 0
    for key in KEYS[:400]:
        spliced = _spliced(nodes, root, (key, MANY.get(key), OTHER))
        assert spliced in (None, naive_repo.build_tree(MANY | {key: OTHER})[0])
        assert spliced or key not in MANY
        usual += spliced is not None
    assert usual > 380


def test_a_value_that_is_not_the_one() -> None:
    root, nodes = naive_repo.build_tree(MANY)
    for key in KEYS[:20]:
        for now in {VALUE, OTHER, None} - {MANY.get(key)}:
            for then in (cid_of(b"third"), None):
                assert _spliced(nodes, root, (key, now, then)) is None


def test_several_writes() -> None:
    root, nodes = naive_repo.build_tree(MANY)
    gone = [*MANY][40:44]
    assert len({naive_repo.layer(key) for key in gone}) > 1
    left = {key: value for key, value in MANY.items() if key not in gone}
    assert _removed(nodes, root, *gone) == naive_repo.build_tree(left)[0]


@pytest.mark.parametrize("spoil", [0x01, 0x04, 0x20, 0x80])
@pytest.mark.parametrize("key", [ZERO[20], *(one for one in (*ONE, *TWO) if one in KEYS[20:60])])
@pytest.mark.parametrize("gone", [False, True])
def test_no_byte_of_any_node_can_be_another(key: bytes, spoil: int, gone: bool) -> None:
    """A tree that is not the true one does not lead to the root before, wherever they differ."""
    records = dict.fromkeys(KEYS[:62], VALUE)
    (root, nodes), (other, others) = (
        naive_repo.build_tree(held) for held in (records, {one: VALUE for one in records if one != key})
    )
    write: Write = (key, VALUE, None)
    if gone:
        root, nodes, other, write = other, others, root, (key, None, VALUE)
    assert _spliced(nodes, root, write) == other
    for cid, block in nodes.items():
        for place in range(len(block)):
            spoilt = block[:place] + bytes((block[place] ^ spoil,)) + block[place + 1 :]
            changed, top = _instead(nodes, root, cid, spoilt)
            assert _spliced(changed, top, write) != other


def _instead(nodes: Nodes, root: bytes, cid: bytes, block: bytes) -> tuple[Nodes, bytes]:
    """The tree with another block in place of one, linked from above."""
    changed = {**nodes, cid_of(block): block}
    if cid == root:
        return changed, cid_of(block)
    parent, above = next((parent, above) for parent, above in nodes.items() if cid in above)
    return _instead(changed, root, parent, above.replace(cid, cid_of(block)))


LOW, KEY, HIGH = ZERO[3], ZERO[4], ZERO[5]
BARE = naive_repo.node(None, [])


def _leaf(*keys: bytes) -> bytes:
    return naive_repo.node(None, [(key, VALUE, None) for key in keys])


def test_a_key_of_another_layer() -> None:
    low, high = ONE[3], ONE[12]
    zero = next(key for key in ZERO if low < key < high)
    for keys, key, gone in (
        ((low, zero, high), zero, True),
        ((low, ONE[7], high), ONE[7], False),
        ((ZERO[0], low, high), ZERO[0], True),
    ):
        nodes, root = _of(_leaf(*keys))
        assert (_removed(nodes, root, key) is None) is gone


def test_nodes_with_nothing_in_them() -> None:
    """Beside the key, where they would be merged away."""
    low, key, high = ONE[3:6]
    left, right = (_leaf(next(one for one in ZERO if one > before)) for before in (low, key))
    for one, other, gone in ((left, right, False), (BARE, right, True), (left, BARE, True)):
        top = naive_repo.node(None, [(low, VALUE, cid_of(one)), (key, VALUE, cid_of(other)), (high, VALUE, None)])
        nodes, root = _of(one, other, top)
        assert (_removed(nodes, root, key) is None) is gone


def test_a_node_with_nothing_in_it_that_would_be_parted() -> None:
    low, key, high = ONE[3:6]
    for below, gone in ((None, False), (cid_of(BARE), True)):
        nodes, root = _of(BARE, naive_repo.node(None, [(low, VALUE, below), (high, VALUE, None)]))
        assert (_spliced(nodes, root, (key, None, VALUE)) is None) is gone


def test_a_node_too_many() -> None:
    """Above the root, and between a node and its parent."""
    whole = _leaf(LOW, KEY, HIGH)
    nodes, root = _of(whole, naive_repo.node(cid_of(whole), []))
    assert _removed(nodes, root, KEY) != cid_of(_leaf(LOW, HIGH))
    low, high = ONE[3], ONE[6]
    key = next(one for one in ZERO if one > low)
    between = naive_repo.node(cid_of(_leaf(key)), [])
    for child, gone in ((_leaf(key), False), (between, True)):
        nodes, root = _of(_leaf(key), child, naive_repo.node(None, [(low, VALUE, cid_of(child)), (high, VALUE, None)]))
        assert _removed(nodes, root, key) == (None if gone else cid_of(_leaf(low, high)))


@pytest.mark.parametrize(
    ("compressed", "written_out"),
    [
        (0, [(0, LOW), (0, KEY), (len(KEY) - 1, HIGH[-1:])]),
        (1, [(0, LOW), (len(LOW) - 1, KEY[-1:]), (0, HIGH)]),
        (2, [(0, LOW), (len(LOW) - 2, KEY[-2:]), (len(KEY) - 1, HIGH[-1:])]),
    ],
)
def test_keys_that_are_not_compressed_as_they_must_be(compressed: int, written_out: list[tuple[int, bytes]]) -> None:
    entries = [{"p": p, "k": k, "v": naive_repo.link(VALUE), "t": None} for p, k in written_out]
    nodes, root = _of(naive_repo.encode({"e": entries, "l": None}))
    assert _removed(nodes, root, KEY) is None, compressed
    nodes, root = _of(_leaf(LOW, KEY, HIGH))
    assert _removed(nodes, root, KEY) == cid_of(_leaf(LOW, HIGH))


def test_large_and_deep_nodes_are_not_for_splicing() -> None:
    many = [b"a.b.c/x%05d" % number for number in range(3000)]
    zero = [key for key in many if naive_repo.layer(key) == 0]
    nodes, root = _of(_leaf(*zero[:400]))
    assert _removed(nodes, root, zero[9]) is None
    nodes, root = _of(_leaf(*zero[:100]))
    assert _removed(nodes, root, zero[9]) is not None
    low, high = ONE[3:5]
    key = next(one for one in ZERO if one > low)
    left, right = [_leaf(key)], [_leaf(next(one for one in ZERO if one > high))]
    for chain in (left, right):
        for _ in range(3000):
            chain.append(naive_repo.node(cid_of(chain[-1]), []))
    top = naive_repo.node(None, [(low, VALUE, cid_of(left[-1])), (high, VALUE, cid_of(right[-1]))])
    nodes, root = _of(*left, *right, top)
    assert _spliced(nodes, root, (key, VALUE, OTHER)) is None
    assert _removed(nodes, root, high) is None
