"""One node of a Merkle Search Tree: its block and its value, in both directions.

A node (https://atproto.com/specs/repository#mst-structure) is a DAG-CBOR map: ``l``, the subtree of keys before the
first entry, and ``e``, the entries, each with ``p`` (bytes shared with the key before it), ``k`` (the rest of the
key), ``v`` (the record) and ``t`` (the subtree of keys after it).

A node has exactly one encoding, so a block is read with a fast, lenient decoder, what was found is encoded again, and
the two have to be the same bytes. Whatever a decoder might let pass (a byte string for a link, a length written
long, keys of a map out of order, a field too many) comes out differently.

Policy: ``t`` is always there, null where there is no subtree, as every known writer has it.
"""

from __future__ import annotations

from hashlib import sha256
from operator import itemgetter
from typing import Any, Final, NamedTuple

import libipld

from headwater.cid import CID_LENGTH, DAG_CBOR_PREFIX, PREFIX_LENGTH
from headwater.dagcbor import check_heads, encode_head
from headwater.errors import InvalidInputError, Reason

# sha256 has 256 bits and a layer is two of them.
MAX_LAYER: Final = 128

# A key with the CID of its record, and that of the subtree between it and the next key. A bare tuple, because a repo
# has one for each record and a named one takes three times as long to make.
Entry = tuple[bytes, bytes, bytes | None]


class Node(NamedTuple):
    """A node, its keys written out in full."""

    left: bytes | None
    entries: list[Entry]


# A longer node's claims are looked at first: the decoder allocates what nested arrays claim to hold.
_MAX_UNCHECKED_BYTES: Final = 16_384
_NODE_FIELDS: Final = 2
_ENTRY_FIELDS: Final = 4
_fields: Final = itemgetter("k", "p", "t", "v")
_BYTES: Final = 0x40
_ARRAY: Final = 0x80


# NSID, slash and record key: no valid key is longer (headwater.syntax).
MAX_KEY_BYTES: Final = 317 + 1 + 512
# What a node begins with, and hardly anything else does.
NODE_START: Final = b"\xa2\x61e"
_LEFT: Final = b"\x61l"
_NULL: Final = b"\xf6"
# Tag 42 over a byte string of 37: the identity multibase prefix 0, then a CID. All links of a tree go to dag-cbor
# blocks, so the CID's own prefix belongs to what never differs, and only the digest is put behind it.
_LINK: Final = b"\xd8\x2a\x58\x25\x00" + DAG_CBOR_PREFIX
# What stands before k's bytes and p's place, by their number; and between p, t and v.
_KEY: Final = tuple(b"\xa4\x61k" + encode_head(_BYTES, length) for length in range(MAX_KEY_BYTES + 1))
_PREFIX: Final = tuple(b"\x61p" + encode_head(0, length) for length in range(MAX_KEY_BYTES + 1))
_TREE: Final = b"\x61t" + _LINK
_VALUE: Final = b"\x61v" + _LINK
_NO_TREE_VALUE: Final = b"\x61t" + _NULL + _VALUE


def layer_of(key: bytes) -> int:
    """The layer of a key: how many pairs of zero bits its sha256 begins with (0 to 128)."""
    digest = sha256(key).digest()
    if digest[0] >= 0x40:
        return 0
    return (256 - int.from_bytes(digest, "big").bit_length()) // 2


def common_prefix_len(left: bytes, right: bytes) -> int:
    """How many bytes two keys have in common at their beginning."""
    length = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        length += 1
    return length


def is_node(block: bytes) -> bool:
    """Whether a block is an MST node, which no record can be."""
    if not block.startswith(NODE_START):
        return False
    try:
        parse_node(block)
    except InvalidInputError:
        return False
    return True


def parse_node(block: bytes) -> Node:
    """Parse a node; its keys are in strictly ascending order and compressed as they must be.

    Raises InvalidInputError: MST_ORDER for keys out of order, MST_KEY for one longer than any key can be, and
    MST_MALFORMED for all else.
    """
    if not block.startswith(NODE_START):
        raise _malformed("not a map of e and l")
    try:
        if len(block) > _MAX_UNCHECKED_BYTES:
            check_heads(block)
        decoded = libipld.decode_dag_cbor(block)
        if libipld.encode_dag_cbor(decoded) != block:
            raise _malformed("not the one encoding of a node")
        return _read(decoded)
    except (ValueError, RecursionError, KeyError, TypeError, IndexError, AttributeError) as error:
        # What a field of the wrong type runs into on its way through _read.
        raise _malformed(f"{type(error).__name__}: {error}"[:120]) from None


def encode_node(node: Node) -> bytes:
    """The one encoding of a node whose keys are valid and in ascending order."""
    parts = [NODE_START, encode_head(_ARRAY, len(node.entries))]
    before = b""
    for key, value, tree in node.entries:
        shared = common_prefix_len(before, key)
        parts.append(encode_entry(key[shared:], shared, value, tree))
        before = key
    parts += (_LEFT, _NULL if node.left is None else _LINK + node.left[PREFIX_LENGTH:])
    return b"".join(parts)


def _read(decoded: Any) -> Node:
    """The node in a decoded block that is canonical.

    The decoder gives links as bytes, and the encoder makes links of bytes that read as a CID. So once both agree,
    bytes that are a CID were a link, and others were not.

    The condition on a suffix holds order and compression together: where a key leaves the one before it, its byte
    is greater (order), hence different (so the shared prefix is as long as it can be).
    """
    items, left = decoded["e"], decoded["l"]
    if len(decoded) != _NODE_FIELDS or type(items) is not list or not (left is None or _is_link(left)):
        raise _malformed("not a map of e and l")
    entries: list[Entry] = []
    before, size = b"", 0
    for entry in items:
        suffix, shared, tree, value = _fields(entry)
        if type(shared) is not int or shared < 0 or len(entry) != _ENTRY_FIELDS:
            raise _malformed("not a map of k, p, t and v")
        if not suffix or shared > size or (shared < size and suffix[0] <= before[shared]):
            raise _refused_key(before, shared, suffix)
        # As in _is_link, here without its call.
        if value[:PREFIX_LENGTH] != DAG_CBOR_PREFIX or len(value) != CID_LENGTH or not (tree is None or _is_link(tree)):
            raise _malformed("a link to no dag-cbor block")
        before = before[:shared] + suffix
        size = len(before)
        if size > MAX_KEY_BYTES:
            raise InvalidInputError(Reason.MST_KEY, f"a key of {size} bytes")
        entries.append((before, value, tree))
    return Node(left, entries)


def _is_link(value: bytes) -> bool:
    return value[:PREFIX_LENGTH] == DAG_CBOR_PREFIX and len(value) == CID_LENGTH


def encode_entry(suffix: bytes, shared: int, value: bytes, tree: bytes | None) -> bytes:
    """The encoding of an entry whose key has ``shared`` bytes in common with the one before, and then ``suffix``."""
    if tree is None:
        return _KEY[len(suffix)] + suffix + _PREFIX[shared] + _NO_TREE_VALUE + value[PREFIX_LENGTH:]
    links = _TREE + tree[PREFIX_LENGTH:] + _VALUE + value[PREFIX_LENGTH:]
    return _KEY[len(suffix)] + suffix + _PREFIX[shared] + links


def _refused_key(before: bytes, shared: int, suffix: bytes) -> InvalidInputError:
    key = before[:shared] + suffix
    if shared > len(before) or key > before or not key:
        return _malformed(f"p is {shared} between {before[:80]!r} and {key[:80]!r}")
    return InvalidInputError(Reason.MST_ORDER, f"{key[:80]!r} after {before[:80]!r}")


def _malformed(detail: str) -> InvalidInputError:
    return InvalidInputError(Reason.MST_MALFORMED, detail)
