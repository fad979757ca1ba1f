"""A tree that is changed step by step against one that is built at once."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

import naive_repo
from headwater.blocks import MemoryBlocks
from headwater.mst_splice import NotUsualError, spliced_root
from headwater.mst_tree import Tree
from naive_repo import cid_of

keys = st.integers(0, 300).map(lambda number: b"a.b.c/%d" % number)
values = st.integers(0, 3).map(lambda number: cid_of(bytes((number,))))
contents = st.dictionaries(keys, values, max_size=60)


def _tree(records: dict[bytes, bytes]) -> Tree:
    root, nodes = naive_repo.build_tree(records)
    blocks = MemoryBlocks()
    for cid, block in nodes.items():
        blocks.put(cid, block)
    return Tree(blocks, root)


@given(contents, st.lists(st.tuples(keys, values | st.none()), max_size=40))
def test_any_writes_end_at_the_root_of_what_is_left(
    records: dict[bytes, bytes], writes: list[tuple[bytes, bytes | None]]
) -> None:
    tree = _tree(records)
    expected = dict(records)
    for key, value in writes:
        if value is None:
            assert tree.remove(key) == expected.pop(key, None)
        else:
            assert tree.put(key, value) == expected.get(key)
            expected[key] = value
        assert tree.get(key) == value
    root, nodes = naive_repo.build_tree(expected)
    assert tree.write()[0] == root
    assert all(nodes[cid] == block for cid, block in tree.write()[1].items())


@given(contents.filter(bool), st.dictionaries(keys, values | st.none(), max_size=10))
def test_what_is_usual_ends_there_by_splicing(records: dict[bytes, bytes], writes: dict[bytes, bytes | None]) -> None:
    root, nodes = naive_repo.build_tree(records)
    changes = [(key, records.get(key), value) for key, value in writes.items()]
    with contextlib.suppress(NotUsualError):
        spliced = spliced_root(MemoryBlocks([*nodes.items()]), root, changes)
        left = {key: value for key, value in (records | writes).items() if value is not None}
        assert spliced == naive_repo.build_tree(left)[0]


@given(contents, contents)
def test_what_is_undone_was_never_done(records: dict[bytes, bytes], other: dict[bytes, bytes]) -> None:
    tree = _tree(records)
    for key, value in other.items():
        tree.put(key, value)
    for key in other:
        if key in records:
            tree.put(key, records[key])
        else:
            assert tree.remove(key)
    assert tree.write()[0] == naive_repo.build_tree(records)[0]
