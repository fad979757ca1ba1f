"""Batches of a snapshot: what is in scope, how large they get, what becomes of records that cannot be used."""

from __future__ import annotations

from typing import Any

import cbor2
import orjson
import pytest

from headwater.blocks import MemoryBlocks
from headwater.bus.messages import MAX_BATCH_BYTES, MAX_RECORDS_PER_BATCH
from headwater.cid import cid_of, cid_text
from headwater.clock import DAY_US
from headwater.collection_filter import CollectionFilter
from headwater.errors import Reason
from headwater.record import DecodedRecord, decode_record
from headwater.tid import tid_from
from repo_backfill.snapshot import Batch, Scope, Snapshot

NOW = 1_790_000_000_000_000
POST = "app.bsky.feed.post"


class Repo:
    """Records in key order, as a verified walk gives them."""

    def __init__(self) -> None:
        self.blocks = MemoryBlocks()
        self.records: list[tuple[str, str, bytes]] = []

    def add(self, rkey: str, record: Any, *, collection: str = POST, stored: bool = True) -> bytes:
        block = cbor2.dumps(record, canonical=True)
        cid = cid_of(block)
        if stored:
            self.blocks.put(cid, block)
        self.records.append((collection, rkey, cid))
        return cid

    def snapshot(self, *, cutoff_us: int | None = None, held: bool = False, room: int = 8_000_000) -> Snapshot:
        return Snapshot(self.blocks, self.records, Scope(cutoff_us, held, NOW), room)


def post(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"$type": POST, "text": text, **fields}


def all_of(batches: list[Batch], part: str) -> list[str]:
    return [rkey for batch in batches for rkey in getattr(batch, part).rkey]


def test_columns_hold_what_the_records_hold():
    repo = Repo()
    cid = repo.add("a", post("hé", createdAt="2026-01-02T03:04:05Z", subject="did:plc:x"))
    [batch] = repo.snapshot()
    put = batch.put
    assert (put.collection, put.rkey, put.cid, put.subject) == ([POST], ["a"], [cid_text(cid)], ["did:plc:x"])
    assert put.created_at == [1_767_323_045_000_000]
    assert orjson.loads(put.record[0])["text"] == "hé"
    assert put.raw == {}


def test_a_batch_has_so_many_records_at_most():
    repo = Repo()
    for number in range(2 * MAX_RECORDS_PER_BATCH + 1):
        repo.add(f"{number:06d}", post(str(number)))
    snapshot = repo.snapshot()
    batches = list(snapshot)
    assert [len(batch.put) for batch in batches] == [MAX_RECORDS_PER_BATCH, MAX_RECORDS_PER_BATCH, 1]
    assert all_of(batches, "put") == [rkey for _, rkey, _ in repo.records]
    assert (snapshot.published, snapshot.seen) == (2001, 2001)


def test_a_batch_has_so_many_bytes_at_most_and_a_larger_record_travels_alone():
    repo = Repo()
    sizes = [100_000, 300_000, 300_000, 900_000, 10, 10]
    for number, size in enumerate(sizes):
        repo.add(str(number), post("x" * size))
    batches = list(repo.snapshot())
    assert [batch.put.rkey for batch in batches] == [["0", "1"], ["2"], ["3"], ["4", "5"]]
    for batch in batches:
        assert len(batch.put) == 1 or sum(map(len, batch.put.record)) <= MAX_BATCH_BYTES


def test_a_record_that_no_message_holds_is_refused():
    repo = Repo()
    repo.add("large", post("x" * 600_000))
    repo.add("small", post())
    snapshot = repo.snapshot(room=500_000)
    batches = list(snapshot)
    assert all_of(batches, "put") == ["small"]
    assert [refused.reason for batch in batches for refused in batch.refused] == [Reason.RECORD_TOO_LARGE]
    assert snapshot.rejected == {Reason.RECORD_TOO_LARGE: 1}


def test_the_exact_size_counts_not_the_number_of_characters():
    repo = Repo()
    repo.add("wide", post("\u00e9" * 300_000))
    [batch] = repo.snapshot(room=500_000)
    assert len(batch.put) == 0


def test_a_missing_record_is_counted_and_its_siblings_go_on():
    repo = Repo()
    repo.add("a", post("a"))
    repo.add("b", post("b"), stored=False)
    repo.add("c", post("c"))
    snapshot = repo.snapshot()
    [batch] = snapshot
    assert batch.put.rkey == ["a", "c"]
    [refused] = batch.refused
    assert (refused.rkey, refused.reason, refused.block) == ("b", Reason.RECORD_MISSING, None)
    assert (snapshot.published, snapshot.seen) == (2, 3)
    assert snapshot.by_collection.total() == 2, "what lies outside the scope does not count"


def test_only_refused_records_make_a_batch_too():
    repo = Repo()
    repo.add("a", [1])
    snapshot = repo.snapshot()
    [batch] = snapshot
    assert len(batch.put) == 0
    assert [refused.reason for refused in batch.refused] == [Reason.RECORD_NOT_MAP]


CUTOFF = NOW - 30 * DAY_US
OLD, NEW = "2020-01-01T00:00:00Z", "2026-09-20T00:00:00Z"


@pytest.mark.parametrize("held", [False, True])
def test_what_is_in_scope(held: bool):
    repo = Repo()
    old_key, new_key = tid_from(CUTOFF - 1), tid_from(CUTOFF)
    repo.add(old_key, post("an old key", createdAt=NEW))
    repo.add(new_key, post("a new key", createdAt=NEW))
    repo.add("new", post("new", createdAt=NEW))
    repo.add("old", post("old", createdAt=OLD))
    repo.add("self", {"$type": "app.bsky.actor.profile"}, collection="app.bsky.actor.profile")
    batches = list(repo.snapshot(cutoff_us=CUTOFF, held=held))
    assert all_of(batches, "put") == [new_key, "new", "self"]
    assert all_of(batches, "held") == ([old_key, "old"] if held else [])
    assert all_of(batches, "keys") == ([] if held else [old_key, "old"])


def test_what_its_key_dates_out_of_scope_is_not_even_read():
    repo = Repo()
    repo.add(tid_from(CUTOFF - DAY_US), post(), stored=False)
    snapshot = repo.snapshot(cutoff_us=CUTOFF)
    [batch] = snapshot
    assert len(batch.keys) == 1
    assert snapshot.rejected == {}


def test_raw_blocks_stay_with_their_rows():
    repo = Repo()
    repo.add("a", post("plain"))
    repo.add("b", post("with \0 in it"))
    [batch] = repo.snapshot()
    assert batch.put.raw == {1: cbor2.dumps(post("with \0 in it"), canonical=True)}
    assert orjson.loads(batch.put.record[1])["text"] == "with \ufffd in it"


def test_an_empty_repo_has_no_batch():
    assert list(Repo().snapshot()) == []


def filtered(repo: Repo, *, held: bool, cutoff_us: int | None = None) -> list[Batch]:
    scope = Scope(cutoff_us, held, NOW, CollectionFilter.parse("app.bsky.*"))
    return list(Snapshot(repo.blocks, repo.records, scope, 8_000_000))


@pytest.mark.parametrize("cutoff_us", [None, 0])
def test_collections_that_are_not_wanted_are_outside_the_scope(cutoff_us: int | None):
    repo = Repo()
    repo.add("a", post())
    repo.add("b", post("missing"), collection="com.example.thing", stored=False)
    [fresh] = filtered(repo, held=False, cutoff_us=cutoff_us)
    assert (fresh.put.rkey, fresh.held.rkey, fresh.keys.rkey, fresh.refused) == (["a"], [], ["b"], [])
    repo.add("c", post("there"), collection="com.example.thing")
    [again] = filtered(repo, held=True, cutoff_us=cutoff_us)
    assert (again.put.rkey, again.held.rkey, again.keys.rkey) == (["a"], ["c"], [])
    assert [refused.rkey for refused in again.refused] == ["b"]


def test_many_at_once_or_one_by_one_makes_the_same_rows():
    repo = Repo()
    for number in range(2_500):
        text = f"{number}\0" if number % 97 == 0 else f"{number}" + "é" * (number % 300)
        stored = number % 211 != 0
        repo.add(tid_from(NOW - 3 * DAY_US + number), post(text, createdAt="2026-01-02T03:04:05.678Z"), stored=stored)
    at_once, one_by_one = repo.snapshot(), repo.snapshot(cutoff_us=0, held=True)
    batches, others = list(at_once), list(one_by_one)
    for column in ("collection", "rkey", "cid", "created_at", "subject", "record"):
        found, expected = (
            [value for batch in some for value in getattr(batch.put, column)] for some in (batches, others)
        )
        assert found == expected, column
    raw = {batch.put.rkey[index] for batch in batches for index in batch.put.raw}
    assert raw == {rkey for number, (_, rkey, _) in enumerate(repo.records) if number % 97 == 0 and number % 211}
    assert all(sum(map(len, batch.put.record)) <= MAX_BATCH_BYTES for batch in batches)
    assert all(len(batch.put) <= MAX_RECORDS_PER_BATCH for batch in batches)
    assert (at_once.published, at_once.seen, at_once.rejected) == (
        one_by_one.published,
        one_by_one.seen,
        one_by_one.rejected,
    )


def test_a_record_that_is_unusual_costs_few_of_its_neighbours(monkeypatch: pytest.MonkeyPatch):
    repo = Repo()
    for number in range(1_000):
        fields = {"$link": "x"} if number == 777 else {}
        repo.add(tid_from(NOW - DAY_US + number), post(f"{number}", **fields))
    alone: list[bytes] = []

    def decode(block: bytes) -> DecodedRecord:
        alone.append(block)
        return decode_record(block)

    monkeypatch.setattr("repo_backfill.snapshot.decode_record", decode)
    (batch,) = repo.snapshot()
    assert (len(batch.put), list(batch.put.raw)) == (1_000, [777])
    assert repo.blocks.get(repo.records[777][2]) in alone
    assert len(alone) <= 4
