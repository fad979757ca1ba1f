"""The fast reader of trees against a naive writer of them."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

import naive_repo
from headwater.blocks import MemoryBlocks, SpooledBlocks
from headwater.car import CarReader, read_car
from headwater.errors import InvalidInputError
from headwater.mst import verify_tree, walk
from headwater.mst_node import encode_node, layer_of, parse_node
from naive_repo import cid_of

collections = st.sampled_from(["app.bsky.feed.like", "app.bsky.feed.post", "a.b.c", "a.b.cc"])
rkeys = st.text("abcdefghijklmnopqrstuvwxyz234567._~:-AZ0", min_size=1, max_size=40).filter(
    lambda text: text not in (".", "..")
)
records = st.dictionaries(
    st.builds(lambda collection, rkey: f"{collection}/{rkey}".encode(), collections, rkeys),
    st.binary(max_size=40).map(cbor2.dumps),
    max_size=120,
)


def _repository(contents: dict[bytes, bytes]) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    root, nodes = naive_repo.build_tree({key: cid_of(block) for key, block in contents.items()})
    return root, [*nodes.items(), *((cid_of(block), block) for block in contents.values())]


def _read(root: bytes, pairs: list[tuple[bytes, bytes]], *, spooled: bool = False) -> list[tuple[bytes, bytes]]:
    blocks = SpooledBlocks() if spooled else MemoryBlocks()
    try:
        for cid, block in pairs:
            blocks.put(cid, block)
        blocks.seal()
        listed = [(f"{name}/{rkey}".encode(), blocks.get(cid)) for name, rkey, cid in walk(blocks, root)]
        assert verify_tree(blocks, root) == len(listed)
        return listed
    finally:
        blocks.close()


@given(records, st.randoms(use_true_random=False), st.booleans())
def test_a_walk_gives_the_sorted_records(contents: dict[bytes, bytes], random: st.DataObject, spooled: bool) -> None:
    root, pairs = _repository(contents)
    random.shuffle(pairs)
    assert _read(root, pairs, spooled=spooled) == sorted(contents.items())


@given(records)
def test_nodes_are_written_as_the_naive_writer_does(contents: dict[bytes, bytes]) -> None:
    _, nodes = naive_repo.build_tree({key: cid_of(block) for key, block in contents.items()})
    for block in nodes.values():
        assert encode_node(parse_node(block)) == block


@given(st.binary(max_size=600))
def test_layers_by_definition(key: bytes) -> None:
    assert layer_of(key) == naive_repo.layer(key)


@given(records.filter(bool), st.data())
def test_any_changed_byte_refuses_the_car(contents: dict[bytes, bytes], data: st.DataObject) -> None:
    root, pairs = _repository(contents)
    car = bytearray(naive_repo.car(root, pairs))
    position = data.draw(st.integers(len(car) - sum(len(block) for _, block in pairs), len(car) - 1))
    car[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InvalidInputError):
        read_car(bytes(car))


@given(records.filter(bool), st.data())
def test_a_forged_node_never_yields_what_the_tree_does_not_hold(
    contents: dict[bytes, bytes], data: st.DataObject
) -> None:
    """A forger who recomputes the hashes of a changed node changes the root, or the node goes missing."""
    root, pairs = _repository(contents)
    nodes = [index for index, (_, block) in enumerate(pairs) if block.startswith(b"\xa2ae")]
    index = data.draw(st.sampled_from(nodes))
    block = bytearray(pairs[index][1])
    block[data.draw(st.integers(0, len(block) - 1))] ^= data.draw(st.integers(1, 255))
    pairs[index] = (cid_of(bytes(block)), bytes(block))
    with pytest.raises(InvalidInputError):
        _read(root, pairs)


@given(records, st.lists(st.integers(1, 500), min_size=1))
def test_chunks_do_not_matter(contents: dict[bytes, bytes], sizes: list[int]) -> None:
    root, pairs = _repository(contents)
    car = naive_repo.car(root, pairs)
    reader, position, read = CarReader(), 0, []
    while position < len(car):
        size = sizes[position % len(sizes)]
        read += reader.feed(car[position : position + size])
        position += size
    assert read == pairs
    assert reader.finish() == root
