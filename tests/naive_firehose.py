"""Firehose frames written the slow and obvious way: an account that commits, and what its host sends of it.

Like ``naive_repo``, nothing here comes from ``headwater``. Frames are plain dicts until they are encoded, so that a
test can spoil any part of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cbor2
import coincurve

import naive_repo
from naive_repo import cid_of, encode, link

DID = "did:plc:abcdefghijklmnopqrstuvwx"
KEY = coincurve.PrivateKey(b"\x01" * 32)
TIME = "2026-01-01T00:00:00.000Z"
NOW_US = 1_800_000_000_000_000


def rev(number: int) -> str:
    """The n-th of an ascending series of TIDs, of 2024."""
    return "3l" + f"{number:011d}".translate(str.maketrans("0123456789", "abcdefghij"))


def message(kind: str, body: Mapping[str, Any]) -> bytes:
    """The bytes of a websocket message."""
    return encode({"op": 1, "t": kind}) + encode(body)


def record(number: int) -> bytes:
    """The block of some record."""
    return encode({"$type": "a.b.c", "number": number})


@dataclass
class Sent:
    """A frame before it is encoded: its body without ``blocks``, and the blocks. The first one is the commit."""

    body: dict[str, Any]
    blocks: dict[bytes, bytes]
    kind: str = "#commit"

    def encode(self) -> bytes:
        return message(self.kind, {**self.body, "blocks": naive_repo.car(next(iter(self.blocks)), self.blocks.items())})


@dataclass
class Account:
    """A repo: record blocks by key, and how many commits there were."""

    records: dict[bytes, bytes] = field(default_factory=dict)
    commits: int = 0
    did: str = DID
    key: coincurve.PrivateKey = KEY

    def tree(self) -> tuple[bytes, dict[bytes, bytes]]:
        return naive_repo.build_tree({key: cid_of(block) for key, block in self.records.items()})

    def sign(self, root: bytes, **changes: Any) -> bytes:
        """A commit block for a root, with any of its fields changed."""
        fields = {"did": self.did, "version": 3, "data": link(root), "rev": rev(self.commits), "prev": None}
        return naive_repo.signed_commit(self.key, {**fields, **changes})

    def commit(self, writes: Mapping[bytes, bytes | None]) -> Sent:
        """Write record blocks, delete where there is None, and give the frame that a host sends of it."""
        before, root_before = dict(self.records), self.tree()[0]
        since = rev(self.commits)
        self.commits += 1
        self.records.update({key: block for key, block in writes.items() if block is not None})
        for key in [key for key, block in writes.items() if block is None]:
            del self.records[key]
        root, nodes = self.tree()
        commit = self.sign(root)
        proven = {cid for key in writes for cid in proof(nodes, root, sorted(self.records), key)}
        body = {
            "seq": 1000 + self.commits,
            "repo": self.did,
            "time": TIME,
            "rev": rev(self.commits),
            "since": since,
            "commit": link(cid_of(commit)),
            "prevData": link(root_before),
            "ops": [operation(key, before.get(key), block) for key, block in writes.items()],
            "blobs": [],
            "rebase": False,
            "tooBig": False,
        }
        written = {cid_of(block): block for block in writes.values() if block is not None}
        return Sent(body, {cid_of(commit): commit, **{cid: nodes[cid] for cid in proven}, **written})

    def sync(self) -> Sent:
        """The frame that says where the repo is."""
        commit = self.sign(self.tree()[0])
        body = {"seq": 1000 + self.commits, "did": self.did, "time": TIME, "rev": rev(self.commits)}
        return Sent(body, {cid_of(commit): commit}, "#sync")


def operation(key: bytes, before: bytes | None, after: bytes | None) -> dict[str, Any]:
    """An element of ``ops``, of the record's block before and after."""
    action = "delete" if after is None else "create" if before is None else "update"
    op = {"action": action, "path": key.decode(), "cid": None if after is None else link(cid_of(after))}
    return op if before is None else {**op, "prev": link(cid_of(before))}


def proof(nodes: Mapping[bytes, bytes], root: bytes, keys: list[bytes], key: bytes) -> set[bytes]:
    """The nodes on the paths to a key, or to where it would be, and to its neighbours."""
    smaller, larger = [k for k in keys if k < key], [k for k in keys if k > key]
    return {cid for target in (*smaller[-1:], key, *larger[:1]) for cid in path(nodes, root, target)}


def path(nodes: Mapping[bytes, bytes], root: bytes, key: bytes) -> list[bytes]:
    """The CIDs of the nodes from the root down to a key, or to where it would be."""
    cids = [root]
    while True:
        node = cbor2.loads(nodes[cids[-1]])
        below, before = node["l"], b""
        for entry in node["e"]:
            before = before[: entry["p"]] + entry["k"]
            if before > key:
                break
            if before == key:
                return cids
            below = entry["t"]
        if below is None:
            return cids
        cids.append(below.value[1:])
