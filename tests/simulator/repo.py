"""One account's repo: its records, its commits, and the CARs that can be made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import RLock
from typing import Any, Literal

from . import car, columns, tree
from .columns import Columns, Signed
from .dagcbor import Link, cid_of, encode
from .keys import SigningKey

Order = Literal["tree", "pds", "shuffled"]
Action = Literal["create", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Write:
    """One operation. `block` is written as it stands instead of `record`; not `valid` when readers must refuse it."""

    action: Action
    collection: str
    rkey: str
    record: Mapping[str, Any] | None = None
    block: bytes | None = None
    valid: bool = True

    @property
    def key(self) -> bytes:
        return f"{self.collection}/{self.rkey}".encode()


@dataclass(frozen=True, slots=True)
class Stored:
    """A record in the repo."""

    cid: bytes
    block: bytes
    valid: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit did to one record, at `collection/rkey`; `before` and `after` are None where it was not there."""

    key: bytes
    before: Stored | None
    after: Stored | None


@dataclass(frozen=True, slots=True)
class Commit:
    """What happened in one rev. `base` are the records that came by `Repo.seed`; they are not among the changes."""

    rev: str
    since: str | None
    key: SigningKey
    changes: tuple[Change, ...] = ()
    base: Columns | None = None


@dataclass(frozen=True, slots=True)
class _Built:
    """The tree of one state of the records, over parallel, sorted columns."""

    keys: Sequence[bytes]
    cids: Sequence[bytes]
    root: tree.Node


class Repo:
    """A repo at its newest commit. Trees are built when somebody looks, not at every write.

    `next_rev` gives ever later TIDs, `committed` hears of every commit. Records are in memory, save those of `seed`,
    which stay in a CAR on disk. One thread writes; others may look meanwhile, as a PDS does that exports a repo.
    """

    def __init__(
        self,
        did: str,
        key: SigningKey,
        next_rev: Callable[[], str],
        committed: Callable[[Commit], None] = lambda commit: None,
    ) -> None:
        self.did = did
        self._committed = committed
        self._key = key
        self._next_rev = next_rev
        self._base: Columns | None = None
        self._changes: dict[bytes, Stored | None] = {}
        self._built: _Built | None = None
        self._signed: Signed | None = None
        self._known: set[bytes] | None = None
        self._first_revs: dict[bytes, str] = {}
        self._since: str | None = None
        # What is built of one state must not be kept for the next one.
        self._turn = RLock()
        self.rev = next_rev()
        committed(Commit(self.rev, None, key))

    @property
    def head(self) -> Signed:
        """The newest commit."""
        with self._turn:
            if self._signed is None:
                seeded = self._seeded
                root = self._tree().root.cid if seeded is None else seeded.signed.root
                self._signed = self.sign(root, self._key)
            return self._signed

    def sign(self, root: bytes, key: SigningKey) -> Signed:
        """A commit of the newest rev for a tree, signed with any key."""
        return signed_commit(self.did, self.rev, root, key)

    def resign(self, key: SigningKey) -> None:
        """Commit the same records again under another key."""
        with self._turn:
            self._key = key
            self._begin(rebuild=False)
        self._end()

    def seed(self, path: Path, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Fill an empty repo in one commit with records (key, block) in key order, or with the CAR at `path` if there.

        Whoever names the path sees to it that the same path means the same records, DID, key and rev.
        """
        if self._base is not None or self._changes:
            raise ValueError("only an empty repo can be seeded")
        self._begin()
        if not columns.exists(path):
            columns.write(path, records, lambda root: self.sign(root, self._key))
        self._base = Columns(path)
        self._signed = self._base.signed
        if self._signed.rev != self.rev:
            raise ValueError(f"{path} holds rev {self._signed.rev}, not {self.rev}")
        self._end(base=self._base)

    def apply_writes(self, writes: Iterable[Write]) -> str:
        """All writes in one commit; its rev. Creating what exists or changing what does not is a KeyError."""
        staged: dict[bytes, Stored | None] = {}
        for write in writes:
            before = staged[write.key] if write.key in staged else self.find(write.key)
            staged[write.key] = _applied(write, before)
        return self._apply(staged)

    def put_blocks(self, records: Iterable[tuple[bytes, bytes]]) -> str:
        """Write encoded records (key, block) in one commit; its rev."""
        return self._apply({key: Stored(cid_of(block), block) for key, block in records})

    def find(self, key: bytes) -> Stored | None:
        """The record at `collection/rkey`."""
        if key in self._changes:
            return self._changes[key]
        found = None if self._base is None else self._base.find(key)
        return None if found is None else Stored(*found)

    def sorted_keys(self) -> Sequence[bytes]:
        """All keys, sorted."""
        seeded = self._seeded
        return self._tree().keys if seeded is None else seeded.keys

    def listing(self) -> Iterator[tuple[bytes, bytes]]:
        """Every (key, CID) in key order."""
        seeded = self._seeded
        cids = self._tree().cids if seeded is None else seeded.cids()
        return zip(self.sorted_keys(), cids, strict=True)

    def invalid_keys(self) -> set[bytes]:
        """The keys whose records readers must refuse."""
        return {key for key, stored in self._changes.items() if stored is not None and not stored.valid}

    def records(self) -> Iterator[tuple[bytes, Stored]]:
        """Every record in key order."""
        for key in self.sorted_keys():
            yield key, self._stored(key)

    def write_car(
        self, path: Path, *, since: str | None = None, order: Order = "tree", commit_key: SigningKey | None = None
    ) -> None:
        """Write the repo's CAR: all of it, or the blocks that came after the rev `since`.

        Orders: `tree`, the commit first and every node before what it points at; `pds`, newest rev first and by CID,
        as the reference PDS reads them from its table; `shuffled`. `commit_key` signs in the account's stead.
        """
        with self._turn:
            commit = self.head if commit_key is None else self.sign(self.head.root, commit_key)
            blocks = [(commit.cid, commit.block)]
            blocks += [pair for pair in self._blocks() if since is None or self._first_rev(pair[0]) > since]
            if order == "pds":
                blocks.sort(key=lambda pair: (self._first_rev(pair[0]), pair[0]), reverse=True)
            elif order == "shuffled":
                Random(self.rev).shuffle(blocks)
            partial = path.with_suffix(".partial")
            with partial.open("wb", buffering=1 << 20) as out:
                car.write(out, commit.cid, blocks)
            partial.rename(path)

    @property
    def seeded_car(self) -> Path | None:
        """The CAR on disk that is the repo's present state, where there is one."""
        seeded = self._seeded
        return seeded.path if seeded is not None and seeded.signed == self.head else None

    @property
    def _seeded(self) -> Columns | None:
        """The seeded records, while they are all that there is."""
        return None if self._changes else self._base

    def _apply(self, staged: dict[bytes, Stored | None]) -> str:
        changes = [Change(key, self.find(key), after) for key, after in staged.items()]
        with self._turn:
            self._changes.update(staged)
            self._begin()
        self._end(tuple(change for change in changes if change.before is not change.after))
        return self.rev

    def _begin(self, *, rebuild: bool = True) -> None:
        self._since, self.rev = self.rev, self._next_rev()
        self._signed = None
        if rebuild:
            self._built = None

    def _end(self, changes: tuple[Change, ...] = (), base: Columns | None = None) -> None:
        """Tell what has happened in the newest rev."""
        self._committed(Commit(self.rev, self._since, self._key, changes, base))

    def _stored(self, key: bytes) -> Stored:
        stored = self.find(key)
        if stored is None:
            raise KeyError(key)
        return stored

    def _blocks(self) -> Iterator[tuple[bytes, bytes]]:
        """Nodes and records, each once, a node before what it points at."""
        seeded = self._seeded
        if seeded is not None:
            yield from (pair for pair in seeded.blocks() if pair[0] != seeded.signed.cid)
            return
        built, seen = self._tree(), set()
        for item in tree.blocks(built.root):
            if isinstance(item, tree.Node):
                yield item.cid, item.block
            elif built.cids[item] not in seen:
                seen.add(built.cids[item])
                yield built.cids[item], self._stored(built.keys[item]).block

    def _tree(self) -> _Built:
        with self._turn:
            return self._built_tree()

    def _built_tree(self) -> _Built:
        if self._built is None:
            records = {} if self._base is None else dict(zip(self._base.keys, self._base.cids(), strict=True))
            for key, stored in self._changes.items():
                if stored is None:
                    records.pop(key, None)
                else:
                    records[key] = stored.cid
            keys = sorted(records)
            cids = [records[key] for key in keys]
            self._built = _Built(keys, cids, tree.build(keys, cids))
            self._date_blocks(self._built)
        return self._built

    def _date_blocks(self, built: _Built) -> None:
        """Note the rev in which the tree's new blocks came."""
        if self._known is None:
            self._known = set() if self._base is None else {cid for cid, _ in self._base.blocks()}
        present = {item.cid for item in tree.blocks(built.root) if isinstance(item, tree.Node)} | set(built.cids)
        self._first_revs.update(dict.fromkeys(present - self._known, self.rev))
        self._known = present

    def _first_rev(self, cid: bytes) -> str:
        if cid == self.head.cid:
            return self.rev
        return self._first_revs.get(cid, "" if self._base is None else self._base.signed.rev)


def signed_commit(did: str, rev: str, root: bytes, key: SigningKey) -> Signed:
    """A commit of a rev for a tree; the same one for the same arguments."""
    unsigned = {"did": did, "version": 3, "data": Link(root), "rev": rev, "prev": None}
    block = encode(unsigned | {"sig": key.sign(encode(unsigned))})
    return Signed(rev, root, cid_of(block), block)


def _applied(write: Write, before: Stored | None) -> Stored | None:
    """The record after a write, None when deleted."""
    if (before is None) is not (write.action == "create"):
        found = "is not there" if before is None else "exists"
        raise KeyError(f"cannot {write.action} {write.collection}/{write.rkey}: it {found}")
    if write.action == "delete":
        return None
    block = encode(write.record) if write.block is None else write.block
    return Stored(cid_of(block), block, write.valid)
