from __future__ import annotations

from typing import Any

import cbor2
import pytest

import naive_repo
from headwater.errors import InvalidInputError, Reason
from headwater.mst_node import Node, common_prefix_len, encode_node, is_node, layer_of, parse_node
from naive_repo import cid_of, encode, link
from shared_inputs import needs_inputs, read_json

VALUE = cid_of(b"\xa0")
TREE = cid_of(b"\x80")
KEYS = [b"app.bsky.feed.like/3l6oveexaa222", b"app.bsky.feed.like/3l6oveexbb222", b"app.bsky.graph.block/3l6"]
BLOCK = naive_repo.node(TREE, [(KEYS[0], VALUE, None), (KEYS[1], VALUE, TREE), (KEYS[2], VALUE, None)])


def _refusal(block: bytes) -> Reason:
    assert not is_node(block)
    with pytest.raises(InvalidInputError) as refused:
        parse_node(block)
    return refused.value.reason


def _node(*entries: object, left: object = None) -> bytes:
    return encode({"l": left, "e": list(entries)})


def _entry(**changed: object) -> dict[str, object]:
    return {"p": 0, "k": KEYS[0], "v": link(VALUE), "t": None, **changed}


@needs_inputs
@pytest.mark.parametrize("case", read_json("interop/mst/key_heights.json"), ids=lambda case: case["key"])
def test_key_heights(case: dict[str, Any]) -> None:
    assert layer_of(case["key"].encode()) == case["height"]


@needs_inputs
@pytest.mark.parametrize("case", read_json("interop/mst/common_prefix.json"), ids=repr)
def test_common_prefixes(case: dict[str, Any]) -> None:
    assert common_prefix_len(case["left"].encode(), case["right"].encode()) == case["len"]


def test_a_node_is_read_and_written() -> None:
    node = parse_node(BLOCK)
    assert node == Node(TREE, [(KEYS[0], VALUE, None), (KEYS[1], VALUE, TREE), (KEYS[2], VALUE, None)])
    assert encode_node(node) == BLOCK
    assert is_node(BLOCK)


@pytest.mark.parametrize("count", [0, 1, 23, 24, 255, 256, 70_000])
def test_nodes_of_any_length(count: int) -> None:
    entries = [(b"app.bsky.feed.like/%06d" % number, VALUE, None) for number in range(count)]
    assert encode_node(Node(None, entries)) == naive_repo.node(None, entries)
    assert parse_node(naive_repo.node(None, entries)) == Node(None, entries)


@pytest.mark.parametrize("length", [1, 23, 24, 255, 256, 512])
def test_keys_of_any_length(length: int) -> None:
    entries = [(b"a.b.c/" + b"x" * length, VALUE, None), (b"a.b.c/" + b"x" * length + b"y", VALUE, TREE)]
    assert parse_node(naive_repo.node(None, entries)) == Node(None, entries)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\xa0",
        b"\x80",
        b"\xa2\x61e",
        b"\xa2\x61e\x81",
        b"\xa2\x61e\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xa2\x61e" + b"\x81" * 100_000,
        BLOCK[:-1],
        BLOCK + b"\x00",
        encode({"l": None}),
        encode({"e": []}),
        encode({"l": None, "e": [], "x": 1}),
        encode({"l": None, "e": None}),
        encode({"l": None, "e": {}}),
        encode({"l": None, "e": "entries"}),
        encode({"l": None, "e": [1]}),
        encode({"l": None, "e": [[]]}),
        _node(left=VALUE),
        _node(left=1),
        _node(left="left"),
        _node(left=link(b"")),
        _node(left=link(VALUE[:-1])),
        _node(left=link(b"\x01\x55" + VALUE[2:])),
        b"\xa2\x61e\x80\x61l\xf7",
        b"\xa2\x61l\xf6\x61e\x80",
        b"\xbf\x61e\x80\x61l\xf6\xff",
        b"\xa2\x61e\x98\x00\x61l\xf6",
    ],
)
def test_other_blocks_are_refused(block: bytes) -> None:
    assert _refusal(block) is Reason.MST_MALFORMED


@pytest.mark.parametrize(
    "changed",
    [
        {"p": -1},
        {"p": 1},
        {"p": 2**40},
        {"p": 2**64},
        {"p": False},
        {"p": 0.0},
        {"p": None},
        {"p": b""},
        {"p": "0"},
        {"k": b""},
        {"k": KEYS[0].decode()},
        {"k": 1},
        {"k": None},
        {"k": [97]},
        {"v": VALUE},
        {"v": b"\x00" + VALUE},
        {"v": None},
        {"v": 1},
        {"v": VALUE.hex()},
        {"v": link(VALUE + b"\x00")},
        {"v": link(b"\x01\x55" + VALUE[2:])},
        {"v": link(b"\x12\x20" + VALUE[4:])},
        {"v": cbor2.CBORTag(43, b"\x00" + VALUE)},
        {"t": b""},
        {"t": TREE},
        {"t": False},
        {"t": []},
        {"t": link(b"\x01\x55" + VALUE[2:])},
        {"x": None},
    ],
)
def test_entries_with_a_wrong_field(changed: dict[str, object]) -> None:
    assert _refusal(_node(_entry(**changed))) is Reason.MST_MALFORMED


@pytest.mark.parametrize("name", ["p", "k", "v", "t"])
def test_entries_without_a_field(name: str) -> None:
    entry = _entry()
    del entry[name]
    assert _refusal(_node(entry)) is Reason.MST_MALFORMED


@pytest.mark.parametrize(
    ("shared", "suffix", "reason"),
    [
        (0, KEYS[0], Reason.MST_ORDER),
        (len(KEYS[0]), b"", Reason.MST_ORDER),
        (4, b"", Reason.MST_ORDER),
        (0, b"aaa.b.c/x", Reason.MST_ORDER),
        (1, b"oo.b.c/x", Reason.MST_ORDER),
        (0, KEYS[1], Reason.MST_MALFORMED),
        (3, KEYS[1][3:], Reason.MST_MALFORMED),
        (len(KEYS[0]) + 1, b"x", Reason.MST_MALFORMED),
        (-1, b"x", Reason.MST_MALFORMED),
        (0, b"b" * 831, Reason.MST_KEY),
    ],
)
def test_second_keys_that_are_refused(shared: int, suffix: bytes, reason: Reason) -> None:
    assert _refusal(_node(_entry(), _entry(p=shared, k=suffix))) is reason


def test_no_byte_of_a_node_can_be_changed_unnoticed() -> None:
    """A changed byte is either refused, or read as another node whose encoding has that very byte."""
    accepted = 0
    for position in range(len(BLOCK)):
        for change in (0x01, 0x20, 0x80, 0xFF):
            changed = BLOCK[:position] + bytes((BLOCK[position] ^ change,)) + BLOCK[position + 1 :]
            try:
                node = parse_node(changed)
            except InvalidInputError:
                continue
            accepted += 1
            assert naive_repo.node(*node) == changed
    # Digests and the ends of keys are free.
    assert accepted > 100
