"""Nodes in pieces: the same as the other reader sees, from the same encodings, and put together again."""

from __future__ import annotations

from typing import Any

import pytest

import naive_repo
from headwater.errors import InvalidInputError, Reason
from headwater.mst_node import Entry, parse_node
from headwater.mst_pieces import encode_piece, join_node, relink_piece, revalue_piece, split_node
from naive_repo import cid_of, encode, link

VALUE, TREE = cid_of(b"value"), cid_of(b"tree")
LONG = b"a.b.c/" + b"x" * 512
ENTRIES: list[tuple[bytes, bytes, bytes | None]] = [
    (b"a.b.c/a", VALUE, None),
    (b"a.b.c/ap", VALUE, TREE),
    (b"a.b.c/apat", TREE, None),
    (b"a.b.c/" + b"q" * 30, VALUE, TREE),
    (b"a.b.c/" + b"q" * 31, VALUE, None),
    (LONG, VALUE, TREE),
    (LONG[:-1] + b"y", VALUE, None),
]


def _refusal(block: bytes) -> Reason:
    with pytest.raises(InvalidInputError) as refused:
        split_node(block)
    return refused.value.reason


@pytest.mark.parametrize("left", [None, TREE, b"\x01\x71\x12\x20" + b"al\xf6" + b"x" * 26 + b"al\xf6"])
@pytest.mark.parametrize("count", [0, 1, 3, len(ENTRIES)])
def test_a_node_comes_apart_and_together(left: bytes | None, count: int) -> None:
    block = naive_repo.node(left, ENTRIES[:count])
    node = parse_node(block)
    pieces, keys, values, trees = split_node(block)
    assert keys == [key for key, _, _ in node.entries]
    assert values == [value[4:] for _, value, _ in node.entries]
    assert trees == [tree and tree[4:] for tree in (node.left, *(tree for _, _, tree in node.entries))]
    assert join_node([piece for piece in pieces if piece], left and left[4:]) == block
    for index, piece in enumerate(pieces):
        before = keys[index - 1] if index else b""
        assert piece == encode_piece(before, keys[index], values[index], trees[index + 1])


def test_many_entries() -> None:
    entries = [(b"a.b.c/%04d" % number, VALUE, None) for number in range(700)]
    assert split_node(naive_repo.node(None, entries)).keys == [key for key, _, _ in entries]


def test_other_digests_in_a_piece() -> None:
    other = cid_of(b"other")[4:]
    piece = encode_piece(b"a.b.c/a", b"a.b.c/b", VALUE[4:], TREE[4:])
    assert relink_piece(piece, other) == encode_piece(b"a.b.c/a", b"a.b.c/b", VALUE[4:], other)
    assert revalue_piece(piece, other) == encode_piece(b"a.b.c/a", b"a.b.c/b", other, TREE[4:])


def _entry(**changes: Any) -> bytes:
    entry = {"p": 0, "k": b"a.b.c/a", "v": link(VALUE), "t": None}
    second = {"p": 6, "k": b"b", "v": link(VALUE), "t": link(TREE), **changes}
    return encode({"e": [entry, second], "l": None})


@pytest.mark.parametrize(
    "changes",
    [
        {"p": 5, "k": b"/b"},
        {"p": 8},
        {"p": -1},
        {"p": "6"},
        {"k": "b"},
        {"v": VALUE},
        {"v": None},
        {"v": link(b"\x01\x55" + VALUE[2:])},
        {"t": TREE},
        {"t": link(TREE + b"x")},
        {"x": 1},
    ],
)
def test_entries_that_are_none(changes: dict[str, Any]) -> None:
    assert split_node(_entry()).keys == [b"a.b.c/a", b"a.b.c/b"]
    assert _refusal(_entry(**changes)) is Reason.MST_MALFORMED


def test_order_and_keys() -> None:
    assert _refusal(_entry(p=6, k=b"A")) is Reason.MST_ORDER
    assert _refusal(_entry(k=b"")) is Reason.MST_ORDER
    assert _refusal(_entry(p=7, k=b"\n")) is Reason.MST_KEY
    assert _refusal(_entry(p=7, k=b"x" * 900)) is Reason.MST_KEY


def _other_reader(block: bytes) -> tuple[Reason | None, list[Entry]]:
    try:
        return None, parse_node(block).entries
    except InvalidInputError as error:
        return error.reason, []


@pytest.mark.parametrize("spoil", [0x01, 0x04, 0x20, 0x80])
def test_no_byte_can_be_another(spoil: int) -> None:
    """Whatever is accepted of a spoiled node, the other reader accepts as the same; all else both refuse."""
    whole = naive_repo.node(TREE, ENTRIES[:4])
    for place in range(len(whole)):
        block = whole[:place] + bytes((whole[place] ^ spoil,)) + whole[place + 1 :]
        reason, entries = _other_reader(block)
        if reason is not None:
            assert _refusal(block) is reason
            continue
        keys = [key for key, _, _ in entries]
        if all(0x21 <= byte <= 0x7E for byte in b"".join(keys)):
            assert split_node(block).keys == keys
        else:
            assert _refusal(block) is Reason.MST_KEY


@pytest.mark.parametrize(
    "block", [b"", b"\xa2\x61e\x80\x61l", b"\xa2\x61e\x80\x61l\xf6\0", b"\xa2\x61e\x98\x00\x61l\xf6", b"\xa0", b"\x80"]
)
def test_what_is_no_node(block: bytes) -> None:
    assert _refusal(block) is Reason.MST_MALFORMED
