"""A repository written the slow and obvious way, to hold the fast readers against.

Nothing here comes from ``headwater``: the encoder is cbor2, the tree is built by its definition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from itertools import pairwise

import cbor2
import coincurve

CID_PREFIX = b"\x01\x71\x12\x20"


def cid_of(block: bytes) -> bytes:
    return CID_PREFIX + sha256(block).digest()


def link(cid: bytes) -> cbor2.CBORTag:
    return cbor2.CBORTag(42, b"\x00" + cid)


def encode(value: object) -> bytes:
    return cbor2.dumps(value, canonical=True)


def layer(key: bytes) -> int:
    bits = f"{int.from_bytes(sha256(key).digest(), 'big'):0256b}"
    return (len(bits) - len(bits.lstrip("0"))) // 2


def entries(listed: Iterable[tuple[bytes, bytes, bytes | None]]) -> list[dict[str, object]]:
    """The ``e`` of a node for (key, value, subtree) triples, compressed against each key's predecessor."""
    written: list[dict[str, object]] = []
    before = b""
    for key, value, tree in listed:
        shared = len(next(key[:length] for length in range(len(key), -1, -1) if before.startswith(key[:length])))
        written.append(
            {"p": shared, "k": key[shared:], "v": link(value), "t": None if tree is None else link(tree)},
        )
        before = key
    return written


def node(left: bytes | None, listed: Iterable[tuple[bytes, bytes, bytes | None]]) -> bytes:
    return encode({"l": None if left is None else link(left), "e": entries(listed)})


def build_tree(records: Mapping[bytes, bytes]) -> tuple[bytes, dict[bytes, bytes]]:
    """The tree of key → record CID: (CID of the root, node blocks by CID)."""
    blocks: dict[bytes, bytes] = {}

    def subtree(keys: list[bytes], height: int) -> bytes | None:
        if not keys and height >= 0:
            return None
        tops = [key for key in keys if layer(key) == height]
        edges = [-1, *(keys.index(key) for key in tops), len(keys)]
        gaps = [keys[start + 1 : end] for start, end in pairwise(edges)]
        children = [subtree(gap, height - 1) if gap else None for gap in gaps]
        block = node(children[0], zip(tops, (records[key] for key in tops), children[1:], strict=True))
        blocks[cid_of(block)] = block
        return cid_of(block)

    if not records:
        block = node(None, [])
        return cid_of(block), {cid_of(block): block}
    root = subtree(sorted(records), max(map(layer, records)))
    assert root is not None
    return root, blocks


def varint(number: int) -> bytes:
    written = b""
    while number >= 0x80:
        written += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return written + bytes((number,))


def section(cid: bytes, block: bytes) -> bytes:
    return varint(len(cid) + len(block)) + cid + block


def car(root: bytes, blocks: Iterable[tuple[bytes, bytes]]) -> bytes:
    header = encode({"version": 1, "roots": [link(root)]})
    return varint(len(header)) + header + b"".join(section(cid, block) for cid, block in blocks)


def signed_commit(private_key: coincurve.PrivateKey, fields: Mapping[str, object]) -> bytes:
    """A commit block of these fields with their k256 signature (libsecp256k1 signs with a low s)."""
    recoverable = private_key.sign_recoverable(encode(fields))
    return encode({**fields, "sig": recoverable[:64]})
