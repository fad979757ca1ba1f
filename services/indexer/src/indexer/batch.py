"""Folding live commits into what is to be written, and records into rows. Pure.

Several commits of one transaction may touch one key: only the highest rev counts, so that a statement never meets a
key twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, repeat
from typing import NamedTuple

from headwater.bus.messages import Keys, LiveCommit, Rows

COLUMNS = ("did", "collection", "rkey", "cid", "rev", "created_at", "subject", "record", "raw")
"""The columns of ``record`` that a row has, in its order."""

Row = tuple[object, ...]


class KeyAt(NamedTuple):
    """A key, and the rev at which something became of it."""

    did: str
    collection: str
    rkey: str
    rev: str


@dataclass(frozen=True)
class Fold:
    """What a group of commits comes to: rows as in ``COLUMNS``, and deletes. No key is in it twice."""

    puts: list[Row]
    deletes: list[KeyAt]


def rows_of(did: str, rev: str, rows: Rows) -> Iterator[Row]:
    """Records as rows of ``COLUMNS``."""
    raw: Iterable[bytes | None] = map(rows.raw.get, range(len(rows))) if rows.raw else repeat(None)
    return zip(
        repeat(did),
        rows.collection,
        rows.rkey,
        rows.cid,
        repeat(rev),
        rows.created_at,
        rows.subject,
        rows.record,
        raw,
        strict=False,
    )


def fold(commits: Iterable[LiveCommit]) -> Fold:
    """What ``commits``, in any order, come to.

    Within one commit a put wins over a delete of the same key: the tree after the commit holds the key.
    """
    newest: dict[tuple[str, str, str], tuple[str, Row | None]] = {}
    for commit in commits:
        for collection, rkey in zip(commit.delete.collection, commit.delete.rkey, strict=True):
            key = (commit.did, collection, rkey)
            seen = newest.get(key)
            if seen is None or seen[0] < commit.rev:
                newest[key] = (commit.rev, None)
        for index, row in enumerate(rows_of(commit.did, commit.rev, commit.put)):
            key = (commit.did, commit.put.collection[index], commit.put.rkey[index])
            seen = newest.get(key)
            if seen is None or seen[0] < commit.rev or (seen[0] == commit.rev and seen[1] is None):
                newest[key] = (commit.rev, row)
    puts = [row for _, row in newest.values() if row is not None]
    deletes = [KeyAt(*key, rev) for key, (rev, row) in newest.items() if row is None]
    return Fold(puts, deletes)


@dataclass(frozen=True)
class Comparison:
    """Records against the table, as indices: not there yet, there with another CID, and there as they are.

    Rows that are there at the snapshot's rev or a higher one are in none.
    """

    missing: list[int]
    changed: list[int]
    equal: list[int]


def runs(rows: Rows) -> Iterator[slice]:
    """Stretches of rows of one collection, one after the other."""
    start = 0
    for _, run in groupby(rows.collection):
        end = start + sum(1 for _ in run)
        yield slice(start, end)
        start = end


def compare(rows: Rows, run: slice, rev: str, stored: Mapping[str, tuple[str, str]]) -> Comparison:
    """The rows of a run at ``rev`` against what the table holds of it: CID and rev by rkey."""
    found = Comparison([], [], [])
    for index in range(run.start, run.stop):
        there = stored.get(rows.rkey[index])
        if there is None:
            found.missing.append(index)
        elif there[1] < rev:
            (found.equal if there[0] == rows.cid[index] else found.changed).append(index)
    return found


def picked(rows: Rows, indices: Sequence[int]) -> Rows:
    """The rows of these indices."""
    return Rows(
        collection=[rows.collection[i] for i in indices],
        rkey=[rows.rkey[i] for i in indices],
        cid=[rows.cid[i] for i in indices],
        created_at=[rows.created_at[i] for i in indices],
        subject=[rows.subject[i] for i in indices],
        record=[rows.record[i] for i in indices],
        raw={new: rows.raw[old] for new, old in enumerate(indices) if old in rows.raw},
    )


def without(rows: Rows, refused: frozenset[int]) -> tuple[Rows, Keys]:
    """``rows`` without the refused indices, and the refused keys."""
    if not refused:
        return rows, Keys()
    left = picked(rows, [i for i in range(len(rows)) if i not in refused])
    dropped = sorted(refused)
    return left, Keys(collection=[rows.collection[i] for i in dropped], rkey=[rows.rkey[i] for i in dropped])


def rows_beside(rows: Rows, excluded: frozenset[str]) -> Rows:
    """The rows of other collections than the excluded ones."""
    return rows if excluded.isdisjoint(rows.collection) else picked(rows, _beside(rows.collection, excluded))


def keys_beside(keys: Keys, excluded: frozenset[str]) -> Keys:
    """The keys of other collections than the excluded ones."""
    left = _beside(keys.collection, excluded)
    return Keys(collection=[keys.collection[i] for i in left], rkey=[keys.rkey[i] for i in left])


def _beside(collections: Sequence[str], excluded: frozenset[str]) -> list[int]:
    return [i for i, collection in enumerate(collections) if collection not in excluded]


def joined(parts: Iterable[Keys | Rows]) -> Keys:
    """The keys of several columns, one after the other."""
    together = list(parts)
    return Keys(
        collection=list(chain.from_iterable(part.collection for part in together)),
        rkey=list(chain.from_iterable(part.rkey for part in together)),
    )
