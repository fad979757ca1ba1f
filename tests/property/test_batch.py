"""Folding live commits against applying them one by one; comparing and picking rows against the obvious way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater.bus.messages import LiveCommit, Rows
from indexer.batch import COLUMNS, compare, fold, joined, picked, rows_of, runs, without
from indexer_rig import Key, keys, rev, rows

KEYS = [(collection, rkey) for collection in ("a.b.c", "a.b.d") for rkey in ("1", "2")]
DIDS = ["did:plc:a", "did:plc:b"]

values = st.dictionaries(st.sampled_from(KEYS), st.integers(0, 3), max_size=4)
commits = st.lists(
    st.builds(
        lambda did, number, put, gone: LiveCommit(
            did=did, rev=rev(number), data="", seq=0, put=rows(put), delete=keys(*sorted(gone - put.keys()))
        ),
        st.sampled_from(DIDS),
        st.integers(0, 5),
        values,
        st.sets(st.sampled_from(KEYS)),
    ),
    max_size=8,
    unique_by=lambda commit: (commit.did, commit.rev),
)


def one_by_one(history: list[LiveCommit]) -> dict[tuple[str, Key], tuple[str, str | None]]:
    """The rev and CID (None: deleted) that each key has after the commits in the order of their revs."""
    state: dict[tuple[str, Key], tuple[str, str | None]] = {}
    for commit in sorted(history, key=lambda commit: commit.rev):
        for collection, rkey, cid in zip(commit.put.collection, commit.put.rkey, commit.put.cid, strict=True):
            state[commit.did, (collection, rkey)] = (commit.rev, cid)
        for key in zip(commit.delete.collection, commit.delete.rkey, strict=True):
            state[commit.did, key] = (commit.rev, None)
    return state


def of_fold(history: list[LiveCommit]) -> dict[tuple[str, Key], tuple[str, str | None]]:
    folded = fold(history)
    found: dict[tuple[str, Key], tuple[str, str | None]] = {}
    for row in folded.puts:
        did, collection, rkey, cid, at, *_ = map(str, row)
        found[did, (collection, rkey)] = (at, cid)
    for gone in folded.deletes:
        assert (gone.did, (gone.collection, gone.rkey)) not in found
        found[gone.did, (gone.collection, gone.rkey)] = (gone.rev, None)
    assert len(found) == len(folded.puts) + len(folded.deletes)
    return found


@given(commits, st.randoms(use_true_random=False))
def test_folding_in_any_order_is_applying_in_the_order_of_revs(history: list[LiveCommit], random: object) -> None:
    shuffled = list(history)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert of_fold(shuffled + shuffled[:2]) == one_by_one(history)


def test_within_a_commit_a_put_wins_over_a_delete() -> None:
    both = LiveCommit(did="d", rev=rev(1), data="", seq=0, put=rows({KEYS[0]: 1}), delete=keys(KEYS[0]))
    folded = fold([both])
    assert (len(folded.puts), folded.deletes) == (1, [])


@given(values, st.sets(st.integers(0, 3)))
def test_without_leaves_the_others_and_names_the_refused(put: dict[Key, int], indices: set[int]) -> None:
    refused = frozenset(index for index in indices if index < len(put))
    left, gone = without(rows(put), refused)
    expected = {key: put[key] for index, key in enumerate(sorted(put)) if index not in refused}
    assert left == rows(expected)
    assert sorted(zip(gone.collection, gone.rkey, strict=True)) == sorted(put.keys() - expected.keys())


@given(values)
def test_runs_cover_the_rows_each_with_one_collection(put: dict[Key, int]) -> None:
    columns = rows(put)
    stretches = list(runs(columns))
    assert [i for run in stretches for i in range(run.start, run.stop)] == list(range(len(put)))
    assert all(len(set(columns.collection[run])) == 1 for run in stretches)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2)),
    st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(0, 2), st.integers(0, 9))),
)
def test_compare_sorts_rows_by_what_the_table_holds(put: dict[str, int], table: dict[str, tuple[int, int]]) -> None:
    columns = rows({("a.b.c", rkey): value for rkey, value in put.items()})
    stored = {rkey: (f"cid{value}", rev(at)) for rkey, (value, at) in table.items()}
    found = compare(columns, slice(0, len(put)), rev(5), stored)
    for index, rkey in enumerate(sorted(put)):
        value, at = table.get(rkey, (None, 0))
        assert (index in found.missing) == (rkey not in table)
        assert (index in found.equal) == (rkey in table and at < 5 and value == put[rkey])
        assert (index in found.changed) == (rkey in table and at < 5 and value != put[rkey])


def test_rows_have_the_columns_of_the_table_and_raw_where_it_is() -> None:
    put = rows({KEYS[0]: 1, KEYS[1]: 2})
    raw = Rows(put.collection, put.rkey, put.cid, put.created_at, ["s", None], put.record, {1: b"\x00"})
    first, second = (dict(zip(COLUMNS, row, strict=True)) for row in rows_of("d", "r", raw))
    assert (first["raw"], second["raw"], first["subject"], second["record"]) == (None, b"\x00", "s", put.record[1])
    assert picked(raw, [1]).raw == {0: b"\x00"}


def test_joined_keeps_the_order() -> None:
    assert joined([keys(KEYS[2]), rows({KEYS[0]: 1})]) == keys(KEYS[2], KEYS[0])
