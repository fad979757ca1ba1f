"""What a row holds and what becomes of one that Postgres refuses to hold."""

from __future__ import annotations

import asyncpg
import pytest
from msgspec.structs import replace

from headwater.bus.messages import Rows
from headwater.errors import InvalidInputError
from indexer.database import translated
from indexer.isolate import refused_rows
from indexer.snapshots import Group, Refused, write_snapshots
from indexer.table import FEW_ROWS
from indexer_rig import DID, LIKE, OTHER, batch, end, rev, rows, snapshot, state_of, stored, write

A, B, C = (LIKE, "a"), (LIKE, "b"), (OTHER, "c")


def unwritable() -> Rows:
    good = rows({A: 1, B: 1, C: 1})
    return Rows(
        collection=good.collection,
        rkey=good.rkey,
        cid=good.cid,
        created_at=good.created_at,
        subject=good.subject,
        record=[good.record[0], '{"text": "\\u0000"}', good.record[2]],
    )


@pytest.mark.parametrize("few", [0, FEW_ROWS], ids=["by COPY", "with the statement"])
async def test_the_row_that_postgres_refuses_is_found_among_its_siblings(
    table: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("indexer.table.FEW_ROWS", few)
    found = await refused_rows(table, DID, rev(3), unwritable())
    assert list(found) == [1]
    assert "Unicode" in found[1]
    assert await stored(table) == {}


async def test_a_refused_row_counts_as_handled_and_an_older_value_does_not_stand_for_it(
    table: asyncpg.Connection,
) -> None:
    await write(table, *snapshot(3, {A: 1, B: 7}))
    messages = [
        batch(5, {}, job="second"),
        end(5, batches=1, records=3, job="second"),
    ]
    poisoned = [replace(messages[0], put=unwritable())]
    with pytest.raises(InvalidInputError), translated():
        await write_snapshots(table, Group([*poisoned, messages[1]]))
    group = Group([*poisoned, messages[1]], refused={0: Refused(put=frozenset({1}))})
    assert state_of(await write_snapshots(table, group), "second") == "done"
    assert await stored(table) == {A: 1, C: 1}


async def test_records_with_nul_keep_their_original_block(table: asyncpg.Connection) -> None:
    put = rows({A: 1, B: 1})
    first = batch(3, {})
    with_raw = Rows(
        collection=put.collection,
        rkey=put.rkey,
        cid=put.cid,
        created_at=put.created_at,
        subject=put.subject,
        record=put.record,
        raw={1: b"\xa1\x00"},
    )
    message = replace(first, put=with_raw)
    await write(table, message)
    assert await table.fetch("SELECT rkey, raw FROM record ORDER BY rkey") == [("a", None), ("b", b"\xa1\x00")]


async def test_a_subject_of_any_length_is_found_by_its_key(table: asyncpg.Connection) -> None:
    put = rows({A: 1, B: 1, C: 1})
    long = "".join(chr(0x4E00 + i % 5000) for i in range(9_000))
    message = replace(batch(3, {}), put=replace(put, subject=["at://x", long, None]))
    await write(table, message)
    await table.execute("SET enable_seqscan = off")
    for subject, rkey in (("at://x", "a"), (long, "b")):
        assert [row["rkey"] for row in await table.fetch("SELECT rkey FROM records_about($1)", subject)] == [rkey]
    plan = [row[0] for row in await table.fetch("EXPLAIN SELECT * FROM records_about('at://x')")]
    assert not [line for line in plan if "Seq Scan" in line]
