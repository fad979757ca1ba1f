"""The Merkle search tree of a repo, built bottom-up in one pass over its sorted keys.

Source: https://atproto.com/specs/repository#mst-structure
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from .dagcbor import cid_of

_LINK_HEAD = b"\xd8\x2a\x58\x25\x00"
_NULL = b"\xf6"


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the tree; `items` are, in key order, its subtrees and the positions of its keys."""

    cid: bytes
    block: bytes
    items: tuple[Node | int, ...]


class _Level:
    """The node under construction at one height."""

    __slots__ = ("entries", "left")

    def __init__(self) -> None:
        self.left: Node | None = None
        self.entries: list[tuple[int, Node | None]] = []

    def hang(self, subtree: Node) -> None:
        """Put a finished subtree to the right of what is here."""
        if self.entries:
            self.entries[-1] = (self.entries[-1][0], subtree)
        else:
            self.left = subtree

    def seal(self, keys: Sequence[bytes], cids: Sequence[bytes]) -> Node | None:
        """The finished node, None where there is nothing; the level starts anew."""
        if self.left is None and not self.entries:
            return None
        sealed = node(self.left, self.entries, keys, cids)
        self.left, self.entries = None, []
        return sealed


def height(key: bytes) -> int:
    """The layer of a key: leading zero bits of its sha-256, two at a time."""
    return (256 - int.from_bytes(sha256(key).digest(), "big").bit_length()) // 2


def build(keys: Sequence[bytes], cids: Sequence[bytes]) -> Node:
    """The tree of sorted, unique keys and the CIDs of their records; its root node."""
    levels: list[_Level] = [_Level()]
    for position, key in enumerate(keys):
        layer = height(key)
        while len(levels) <= layer:
            levels.append(_Level())
        for lower in range(layer):
            _raise_subtree(levels, lower, keys, cids)
        levels[layer].entries.append((position, None))
    for lower in range(len(levels) - 1):
        _raise_subtree(levels, lower, keys, cids)
    return levels[-1].seal(keys, cids) or node(None, [], keys, cids)


def blocks(root: Node) -> Iterator[Node | int]:
    """The nodes and key positions in the order a reader needs them: a node before what it points at."""
    stack: list[Node | int] = [root]
    while stack:
        item = stack.pop()
        yield item
        if isinstance(item, Node):
            stack.extend(reversed(item.items))


def _raise_subtree(levels: list[_Level], lower: int, keys: Sequence[bytes], cids: Sequence[bytes]) -> None:
    subtree = levels[lower].seal(keys, cids)
    if subtree is not None:
        levels[lower + 1].hang(subtree)


def node(
    left: Node | None, entries: Sequence[tuple[int, Node | None]], keys: Sequence[bytes], cids: Sequence[bytes]
) -> Node:
    """The node of a first subtree, and positions of keys with the subtree behind each."""
    parts = [b"\xa2\x61e", _head(0x80, len(entries))]
    items: list[Node | int] = [] if left is None else [left]
    previous = b""
    for position, subtree in entries:
        key = keys[position]
        shared = common_prefix(previous, key)
        parts += (b"\xa4\x61k", _head(0x40, len(key) - shared), key[shared:], b"\x61p", _head(0, shared))
        parts += (b"\x61t", _link(subtree), b"\x61v", _LINK_HEAD, cids[position])
        items.append(position)
        if subtree is not None:
            items.append(subtree)
        previous = key
    parts += (b"\x61l", _link(left))
    block = b"".join(parts)
    return Node(cid_of(block), block, tuple(items))


def common_prefix(one: bytes, other: bytes) -> int:
    """How many leading bytes two keys share."""
    length = min(len(one), len(other))
    difference = int.from_bytes(one[:length], "big") ^ int.from_bytes(other[:length], "big")
    return length - (difference.bit_length() + 7) // 8


def _link(node: Node | None) -> bytes:
    return _NULL if node is None else _LINK_HEAD + node.cid


def _head(major: int, length: int) -> bytes:
    """The head of a CBOR item of a major type (given in its upper three bits)."""
    if length < 24:
        return bytes((major | length,))
    if length < 0x100:
        return bytes((major | 24, length))
    if length < 0x10000:
        return bytes((major | 25,)) + length.to_bytes(2, "big")
    return bytes((major | 26,)) + length.to_bytes(4, "big")
