"""A tree node taken apart into the encoded pieces of its entries, so that a changed one is put together again cheaply.

Of a node's entries a change touches one or two; the others' bytes go into the new node as they are. A piece is
matched against the one encoding that an entry has (``headwater.mst_node``), which is what makes it safe to keep: a
node that is not all made of such pieces is refused.

Digests are the 32 bytes of a CID behind its prefix: all links of a tree go to dag-cbor blocks.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from headwater.cid import DAG_CBOR_PREFIX
from headwater.dagcbor import encode_head
from headwater.errors import InvalidInputError, Reason
from headwater.mst_node import MAX_KEY_BYTES, common_prefix_len, encode_entry, parse_node

_LINK_PATTERN: Final = rb"\xd8\x2a\x58\x25\x00\x01\x71\x12\x20"
LINK: Final = b"\xd8\x2a\x58\x25\x00" + DAG_CBOR_PREFIX
NULL: Final = b"\xf6"
DIGEST_BYTES: Final = 32
# A piece ends with t's digest, v's name and link, and v's digest.
_VALUE_FROM_END: Final = DIGEST_BYTES + 11
TREE_FROM_END: Final = _VALUE_FROM_END + DIGEST_BYTES
"""Where the digest of a piece's subtree begins, counted from the piece's end."""
TREE: Final = b"\x61t" + LINK
LEFT: Final = b"\x61l" + LINK
"""What stands before the digest of a subtree: behind a key, and before all keys. Inside a node's strings it cannot."""
_NO_LEFT: Final = b"\x61l" + NULL
_LEFT_FROM_END: Final = len(LEFT) + DIGEST_BYTES
# The length of a key's suffix, the suffix (keys are printable ASCII), p, the digests of t (if any) and v.
_PIECE: Final = (
    rb"(\xa4\x61k([\x40-\x57]|\x58.|\x59..)([!-~]+)\x61p([\x00-\x17]|\x18.|\x19..)"
    rb"\x61t(?:\xf6|" + _LINK_PATTERN + rb"(.{32}))\x61v" + _LINK_PATTERN + rb"(.{32}))"
)
_match_piece: Final = re.compile(_PIECE, re.DOTALL).match
# Or all that is left where no piece is, so that the pieces found stand one directly behind the other.
_match_pieces: Final = re.compile(_PIECE + rb"|.+", re.DOTALL).findall

FoundPiece = tuple[bytes, bytes, bytes, bytes, bytes, bytes]
"""A piece, and of it the length of the key's suffix, the suffix, p, the digest of t (empty: none) and that of v."""

_BYTES: Final = 0x40
_ARRAY: Final = 0x80
_NODE_START: Final = b"\xa2\x61e"
_SHORT_HEAD: Final = len(_NODE_START) + 1
_HEADS: Final = tuple(_NODE_START + encode_head(_ARRAY, count) for count in range(100))
_LENGTH: Final = {encode_head(_BYTES, length): length for length in range(MAX_KEY_BYTES + 1)}
SHARED: Final = {encode_head(0, length): length for length in range(MAX_KEY_BYTES + 1)}
"""What p says, by its encoding."""
EMPTY_NODE: Final = _HEADS[0] + _NO_LEFT


class NodePieces(NamedTuple):
    """A node as columns, for its reader to keep and change.

    ``trees`` has one digest more than there are keys: what lies before, between and behind them. None stands for no
    subtree; a reader may put it for a piece that no longer fits.
    """

    pieces: list[bytes | None]
    keys: list[bytes]
    values: list[bytes]
    trees: list[bytes | None]


def find_pieces(block: bytes) -> tuple[int, list[FoundPiece]]:
    """What looks like the pieces of a node, one directly behind the other, and where the first one begins.

    Nothing else of them is checked, nor what is before and behind them.
    """
    start = _start(block)
    found = _match_pieces(block, start)
    if found:
        found.pop()  # what is behind them
    return start, found


def key_at(block: bytes, start: int = 0, like: bytes = b"") -> bytes | None:
    """The key of what looks like a piece at ``start`` (0: the first one), if it begins as ``like`` does as far as it
    has that in common with the key before it. None when there is no piece."""
    match = _match_piece(block, start or _start(block))
    return None if match is None else like[: SHARED.get(match[4], 0)] + match[3]


def key_behind(before: bytes, found: FoundPiece) -> bytes | None:
    """The key of a piece behind the key ``before`` (empty: it is the first); None when its encoding is not the one."""
    _, length, suffix, p, _, _ = found
    shared = SHARED.get(p)
    if shared is None or _LENGTH.get(length) != len(suffix):
        return None
    # Where a key leaves the one before it, its byte is greater: order and compression in one (mst_node).
    if shared > len(before) or (shared < len(before) and suffix[0] <= before[shared]):
        return None
    return before[:shared] + suffix


def has_left(block: bytes) -> bool:
    """Whether a node, if it is one, ends with the link to a subtree before all pieces."""
    return block[-_LEFT_FROM_END:-DIGEST_BYTES] == LEFT


def left_of(block: bytes, found: list[FoundPiece]) -> bytes | None:
    """The digest of the subtree before all pieces (empty: none); None when the block is more or less than a node of
    these pieces."""
    head = node_head(len(found))
    last = block[len(head) + sum([len(one[0]) for one in found]) :]
    if not block.startswith(head):
        return None
    if last == _NO_LEFT:
        return b""
    return last[-DIGEST_BYTES:] if last[:-DIGEST_BYTES] == LEFT else None


def split_node(block: bytes) -> NodePieces:
    """Take a node apart; its keys are in strictly ascending order and compressed as they must be.

    Raises InvalidInputError like ``headwater.mst_node.parse_node``, and MST_KEY for a key that is not printable ASCII.
    """
    node = _split(block)
    if node is None:
        # The slower reader knows why.
        parse_node(block)
        raise InvalidInputError(Reason.MST_KEY, "a key that is not printable ASCII")
    return node


def encode_piece(before: bytes, key: bytes, value: bytes, tree: bytes | None) -> bytes:
    """The piece of a key that stands behind ``before`` (empty: it is the first), with its digests."""
    shared = common_prefix_len(before, key)
    return encode_entry(key[shared:], shared, DAG_CBOR_PREFIX + value, None if tree is None else DAG_CBOR_PREFIX + tree)


def relink_piece(piece: bytes, tree: bytes) -> bytes:
    """The piece with another subtree's digest in place of the one that it has."""
    return piece[:-TREE_FROM_END] + tree + piece[-_VALUE_FROM_END:]


def retree_piece(found: FoundPiece, tree: bytes | None) -> bytes:
    """The piece with another subtree, or none."""
    piece, before = found[0], found[4]
    start = piece[: -TREE_FROM_END - len(LINK)] if before else piece[: -_VALUE_FROM_END - len(NULL)]
    return start + (LINK + tree if tree else NULL) + piece[-_VALUE_FROM_END:]


def revalue_piece(piece: bytes, value: bytes) -> bytes:
    """The piece with another value."""
    return piece[:-DIGEST_BYTES] + value


def join_node(pieces: list[bytes], left: bytes | None) -> bytes:
    """The node of these pieces, ``left`` the digest of the subtree before them."""
    last = _NO_LEFT if left is None else LEFT + left
    return b"".join((node_head(len(pieces)), *pieces, last))


def node_head(count: int) -> bytes:
    """What a node of so many pieces begins with."""
    return _HEADS[count] if count < len(_HEADS) else _NODE_START + encode_head(_ARRAY, count)


def _start(block: bytes) -> int:
    head = block[3:4]
    return _SHORT_HEAD if head < b"\x98" else _SHORT_HEAD + (1 if head == b"\x98" else 2)


def _split(block: bytes) -> NodePieces | None:
    _, found = find_pieces(block)
    left = left_of(block, found)
    if left is None:
        return None
    node = NodePieces([], [], [], [left or None])
    before = b""
    for one in found:
        key = key_behind(before, one)
        if key is None:
            return None
        before = key
        node.pieces.append(one[0])
        node.keys.append(key)
        node.trees.append(one[4] or None)
        node.values.append(one[5])
    return node
