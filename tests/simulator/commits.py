"""The commits of one repo as the firehose carries them: signed, with the nodes that prove their operations.

Nothing is made before somebody asks, so accounts that nobody follows cost nothing.
Source: https://atproto.com/specs/sync#commit-validation, the lexicon com.atproto.sync.subscribeRepos
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from . import mst, tree
from .columns import Signed
from .keys import SigningKey
from .mst import Branch
from .repo import Change, Commit, signed_commit

#: The lexicon's limits. What exceeds them is announced as a #sync: a PDS refuses such writes, an import makes them.
MAX_OPS = 200
MAX_BLOCKS_BYTES = 2_000_000
#: Length and CID of a block in a CAR, at most.
_BLOCK_OVERHEAD = 40


@dataclass(frozen=True, slots=True)
class Carried:
    """A commit with what its frame carries; `nodes` and `records` are (CID, block).

    `key` has signed it, `prev_data` is the root before, None for the first commit. `fits` says whether it may go as a
    #commit.
    """

    signed: Signed
    key: SigningKey
    since: str | None
    prev_data: bytes | None
    changes: tuple[Change, ...]
    nodes: list[tuple[bytes, bytes]] = field(default_factory=list)
    records: list[tuple[bytes, bytes]] = field(default_factory=list)
    fits: bool = True


class Commits:
    """Takes the commits of a repo in their order, and makes what a frame carries of any of them."""

    def __init__(self, did: str) -> None:
        self.did = did
        self._waiting: deque[Commit] = deque()
        self._made: dict[str, Carried] = {}
        self._root: bytes | None = None
        self._tip: Branch | None = mst.EMPTY
        self._seed: Commit | None = None

    def append(self, commit: Commit) -> None:
        self._waiting.append(commit)

    def carried(self, rev: str) -> Carried:
        """The commit of a rev; KeyError where there was none."""
        while rev not in self._made and self._waiting:
            commit = self._waiting.popleft()
            self._made[commit.rev] = self._make(commit)
        return self._made[rev]

    def forget(self) -> None:
        """Drop what has been made; nobody will ask for these revs again."""
        self._made.clear()

    def _make(self, commit: Commit) -> Carried:
        if commit.base is not None:
            # The tree of a seeded repo is large, and its root is known.
            self._seed, self._tip = commit, None
            return self._signed(commit, commit.base.signed.root, fits=False)
        if len(commit.changes) > MAX_OPS:
            self._tip = _replaced(self._tree(), commit.changes)
            return self._signed(commit, mst.seal(self._tip)[0].cid, fits=False)
        tip = self._tree()
        # What an earlier commit has not sealed would count as new here.
        mst.seal(tip)
        for change in commit.changes:
            tip = mst.remove(tip, change.key) if change.after is None else mst.put(tip, change.key, change.after.cid)
        self._tip = tip
        root, made = mst.seal(tip)
        nodes = {node.cid: node.block for node in made}
        for change in commit.changes:
            nodes.update((node.cid, node.block) for node in map(_node, mst.proof(tip, change.key)))
        nodes.setdefault(root.cid, root.block)
        records = {change.after.cid: change.after.block for change in commit.changes if change.after is not None}
        size = sum(len(block) + _BLOCK_OVERHEAD for block in (*nodes.values(), *records.values()))
        fits = size < MAX_BLOCKS_BYTES - 1000
        return self._signed(commit, root.cid, nodes if fits else {}, records if fits else {}, fits=fits)

    def _signed(
        self,
        commit: Commit,
        root: bytes,
        nodes: dict[bytes, bytes] | None = None,
        records: dict[bytes, bytes] | None = None,
        *,
        fits: bool,
    ) -> Carried:
        prev_data, self._root = self._root, root
        signed = signed_commit(self.did, commit.rev, root, commit.key)
        changes = commit.changes if fits else ()
        carried_nodes, carried_records = list((nodes or {}).items()), list((records or {}).items())
        return Carried(signed, commit.key, commit.since, prev_data, changes, carried_nodes, carried_records, fits)

    def _tree(self) -> Branch:
        if self._tip is None:
            assert self._seed is not None
            assert self._seed.base is not None
            self._tip = mst.from_sorted(self._seed.base.keys, self._seed.base.cids())
        return self._tip


def _node(branch: Branch) -> tree.Node:
    assert branch.node is not None
    return branch.node


def _replaced(root: Branch, changes: tuple[Change, ...]) -> Branch:
    """The tree after very many changes."""
    records = dict(mst.walk(root))
    for change in changes:
        if change.after is None:
            del records[change.key]
        else:
            records[change.key] = change.after.cid
    keys = sorted(records)
    return mst.from_sorted(keys, [records[key] for key in keys])
