"""The walk over a repository's whole Merkle Search Tree, which believes nothing.

What is checked beside each node's encoding and the order inside it (``headwater.mst_node``):
- keys ascend strictly over the whole tree;
- every key is a valid ``collection/rkey`` and lies in the layer that its hash says;
- a child's layer is its parent's less one, so a path is at most 129 nodes long and cannot be a cycle;
- the root has an entry, or is the empty tree; a node without entries only stands for a skipped layer, so it has a
  left subtree and some key is below it.

Thereby the work is bounded without counting it: each subtree that is entered holds at least one key, a second visit
of the same subtree would bring the same keys again, and they are refused as out of order. A tree of 40 nodes that
unfolds to 2^40 dies at the second visit of its lowest leaf.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

from headwater.blocks import Blocks, RepoBlocks
from headwater.errors import InvalidInputError, Reason
from headwater.mst_node import MAX_LAYER, Entry, Node, is_node, layer_of, parse_node
from headwater.syntax import MAX_RKEY, split_repo_key

KEPT_RECORDS: Final = 100_000
_RUN: Final = 1_000
# What no key begins with.
_NO_KEY: Final = b"\0"

# Collection, rkey, CID of the record. A bare tuple, because there is one for each record.
Record = tuple[str, str, bytes]


def _digests_of(layer: int) -> tuple[bytes, bytes]:
    """The hashes of a layer's keys go from the first of this pair (inclusive) to the second (exclusive)."""
    bits = 256 - 2 * layer
    lowest = 0 if layer == MAX_LAYER else 1 << (bits - 2)
    beyond = b"\xff" * 33 if layer == 0 else (1 << bits).to_bytes(32, "big")
    return lowest.to_bytes(32, "big"), beyond


# Comparing bytes is four times as fast as counting bits, and it is done for every record.
_DIGESTS: Final = tuple(_digests_of(layer) for layer in range(MAX_LAYER + 1))


# What is still to be done: a subtree to be entered, by its CID, or neighbouring entries of a node with no subtree
# between them; and the layer of the one or the others. Bare tuples, as there are nearly as many as records.
_Step = tuple[bytes | list[Entry], int]


def walk(blocks: Blocks, root: bytes) -> Iterator[Record]:
    """Every record of a repository, in the order of the keys: (collection, rkey, CID of the record).

    ``root`` is the commit's ``data``. Records' own blocks are not looked at. Memory is a path of nodes.
    Raises InvalidInputError: MST_INCOMPLETE when a node's block is missing, MST_MALFORMED, MST_ORDER, MST_LAYER,
    MST_KEY. What came before the error was in order, but the tree as a whole is to be refused.
    """
    for records in _runs(blocks, root):
        yield from records


def _runs(blocks: Blocks, root: bytes) -> Iterator[list[Record]]:
    """The records of a repository in order, some at a time."""
    records: list[Record] = []
    last = b""
    # Neighbours are mostly of one collection: what it begins with is compared, not parsed again.
    collection, beginning, size = "", _NO_KEY, 0
    ahead = _plan_root(_load(blocks, root))
    while ahead:
        entries, layer = ahead.pop()
        if isinstance(entries, bytes):
            ahead += _plan(_load(blocks, entries), layer)
            continue
        if entries[0][0] <= last:
            raise InvalidInputError(Reason.MST_ORDER, f"{entries[0][0][:80]!r} after {last[:80]!r}")
        last = entries[-1][0]
        lowest, beyond = _DIGESTS[layer]
        for key, value, _ in entries:
            if not lowest <= sha256(key).digest() < beyond:
                raise InvalidInputError(Reason.MST_LAYER, f"{key[:80]!r} is not of layer {layer}")
            if key.startswith(beginning) and (rest := key[size:]).isalnum() and len(rest) <= MAX_RKEY:
                records.append((collection, rest.decode(), value))
                continue
            collection, rkey = split_repo_key(key)
            beginning = f"{collection}/".encode()
            size = len(beginning)
            records.append((collection, rkey, value))
        if len(records) >= _RUN:
            yield records
            records = []
    yield records


def verified_records(blocks: RepoBlocks, root: bytes, keep: int = KEPT_RECORDS) -> tuple[int, Iterable[Record]]:
    """Check a whole tree before anything of it is used; the number of its keys, and its records like ``walk``.

    Up to ``keep`` records stay in memory from the checking walk, at 200 bytes each; a larger tree is walked again
    when the records are asked for. A record that is not there is left for the reader of records, whose business it
    is; a record that is in truth a node of a tree is refused. Raises InvalidInputError like ``walk``.
    """
    count = 0
    kept: list[Record] = []
    for records in _runs(blocks, root):
        count += len(records)
        if count <= keep:
            kept += records
        elif kept:
            kept.clear()
        for cid in blocks.like_nodes([cid for _, _, cid in records]):
            if is_node(blocks.get(cid)):
                raise InvalidInputError(Reason.MST_MALFORMED, f"the record {cid.hex()} is a node of a tree")
    return count, kept if count <= keep else walk(blocks, root)


def verify_tree(blocks: RepoBlocks, root: bytes) -> int:
    """Check a whole tree, as ``verified_records`` does; the number of its keys."""
    return verified_records(blocks, root, keep=0)[0]


def _load(blocks: Blocks, cid: bytes) -> Node:
    try:
        block = blocks.get(cid)
    except InvalidInputError:
        raise InvalidInputError(Reason.MST_INCOMPLETE, f"node {cid.hex()} is missing") from None
    return parse_node(block)


def _plan_root(node: Node) -> list[_Step]:
    if node.entries:
        return _plan(node, layer_of(node.entries[0][0]))
    if node.left is None:
        return []
    raise InvalidInputError(Reason.MST_LAYER, "the root has no entry of its own")


def _plan(node: Node, layer: int) -> list[_Step]:
    """The steps through a node, last one first: runs of keys and the subtrees between them."""
    left, entries = node
    if not entries and left is None:
        raise InvalidInputError(Reason.MST_MALFORMED, "an empty node inside the tree")
    if layer == 0:
        # Three in four nodes are leaves.
        if left is not None or [tree for _, _, tree in entries if tree is not None]:
            raise InvalidInputError(Reason.MST_LAYER, "a subtree below layer 0")
        return [(entries, layer)]
    below = layer - 1
    steps: list[_Step] = []
    if left is not None:
        steps.append((left, below))
    run: list[Entry] = []
    for entry in entries:
        run.append(entry)
        tree = entry[2]
        if tree is not None:
            steps += ((run, layer), (tree, below))
            run = []
    if run:
        steps.append((run, layer))
    steps.reverse()
    return steps
