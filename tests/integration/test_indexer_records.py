"""An account's own records, on a real Postgres: pages, search, export, counts, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from headwater.bus.queries import ChangePrivacy, RecordPlace, RecordsQuery
from headwater.bus.records import RecordsPage, decode_page
from indexer.counts import count
from indexer.database import Database
from indexer.privacy import write_change
from indexer.records import EXPORTED_AT_ONCE, PAGE_BYTES, SEARCHED_AT_ONCE, Records, browse, export
from indexer.statements import SQL
from indexer_rig import DID, LIKE, OTHER, POST

OTHER_DID = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
DAY_US = 86_400_000_000


async def insert(
    table: asyncpg.Connection, rkey: str, at: int, value: Any = None, collection: str = POST, did: str = DID
) -> None:
    await table.execute(
        "INSERT INTO record (did, collection, rkey, cid, rev, created_at, record) VALUES ($1, $2, $3, $3, 'r', $4, $5)",
        did,
        collection,
        rkey,
        at,
        json.dumps({"text": rkey} if value is None else value),
    )


async def many(table: asyncpg.Connection, count: int, did: str, collection: str = POST) -> None:
    await table.execute(
        "INSERT INTO record (did, collection, rkey, cid, rev, created_at, record)"
        " SELECT $1, $2, lpad(n::text, 8, '0'), 'c', 'r', timestamptz '2024-01-01' + n * interval '1 minute',"
        " jsonb_build_object('text', 'number ' || n) FROM generate_series(1, $3::integer) AS n",
        did,
        collection,
        count,
    )


def newest(**more: Any) -> RecordsQuery:
    return RecordsQuery(did=DID, collection=more.pop("collection", POST), newest_first=True, **more)


def following(query: RecordsQuery, page: RecordsPage) -> RecordsQuery:
    assert page.next is not None
    place = RecordPlace(collection=page.next.collection, rkey=page.next.rkey, created_at_us=page.next.created_at_us)
    return query.model_copy(update={"after": place})


async def all_pages(table: asyncpg.Connection, query: RecordsQuery, then: Any = browse) -> list[list[str]]:
    pages = []
    while True:
        page = await then(table, query)
        pages.append([record.rkey for record in page.records])
        if page.next is None:
            return pages
        query = following(query, page)


async def test_pages_go_from_the_newest_to_the_oldest_and_hold_still(table: asyncpg.Connection) -> None:
    for rkey, at in (("a", 5), ("b", 9), ("c", 5), ("d", 1), ("e", 5)):
        await insert(table, rkey, at * DAY_US)
    await insert(table, "x", 7 * DAY_US, did=OTHER_DID)
    await insert(table, "y", 7 * DAY_US, collection=LIKE)
    assert await all_pages(table, newest(limit=2)) == [["b", "e"], ["c", "a"], ["d"]]
    first = await browse(table, newest(limit=2))
    await insert(table, "f", 20 * DAY_US)
    assert [r.rkey for r in (await browse(table, following(newest(limit=2), first))).records] == ["c", "a"]
    assert await all_pages(table, newest(limit=6)) == [["f", "b", "e", "c", "a", "d"]]


@pytest.mark.parametrize("text", ["needle", "NEEDLE", 'say "hi"', "back\\slash", "100%_.*", "😀 é", "a'b"])
async def test_a_search_finds_texts_wherever_they_stand(table: asyncpg.Connection, text: str) -> None:
    await insert(table, "deep", 3, {"a": [{"b": f"before {text} after"}], "n": 1})
    await insert(table, "none", 2, {"a": "other", text: "a key is no text"})
    await insert(table, "flat", 1, {"a": text})
    assert await all_pages(table, newest(text=text)) == [["deep", "flat"]]


async def test_a_search_looks_at_so_many_records_a_page_and_goes_on(table: asyncpg.Connection) -> None:
    await many(table, SEARCHED_AT_ONCE + 10, DID)
    page = await browse(table, newest(text="number 5", limit=1_000))
    assert page.next is not None
    assert all(json.loads(record.record or "")["text"].startswith("number 5") for record in page.records)
    rest = await browse(table, following(newest(text="number 5", limit=1_000), page))
    assert [record.rkey for record in rest.records] == ["00000005"]
    assert rest.next is None


async def test_a_page_is_bounded_in_bytes_and_loses_nothing(table: asyncpg.Connection) -> None:
    for number in range(5):
        await insert(table, str(number), number, {"text": "x" * (PAGE_BYTES * 2 // 3)})
    assert await all_pages(table, newest()) == [["4", "3"], ["2", "1"], ["0"]]
    assert await all_pages(table, RecordsQuery(did=DID), export) == [["0", "1"], ["2", "3"], ["4"], []]


async def test_a_record_larger_than_a_message_is_named(migrated_url: str, table: asyncpg.Connection) -> None:
    await insert(table, "big", 1, {"text": "x" * 200_000})

    async def max_payload() -> int:
        return 128 * 1024

    database = Database(migrated_url, "records")
    (record,) = decode_page(await Records(database, max_payload).page(newest())).records
    await database.close()
    assert (record.rkey, record.record) == ("big", None)


async def test_an_export_holds_every_record_once(table: asyncpg.Connection) -> None:
    await many(table, EXPORTED_AT_ONCE + 3, DID)
    await insert(table, "k", 1, collection=OTHER)
    await insert(table, "l", 1, collection=LIKE)
    await many(table, 3, OTHER_DID)
    pages = await all_pages(table, RecordsQuery(did=DID), export)
    keys = [rkey for page in pages for rkey in page]
    assert len(keys) == len(set(keys)) == EXPORTED_AT_ONCE + 5
    assert (keys[0], keys[-1]) == ("l", "k")
    assert await all_pages(table, RecordsQuery(did=DID, collection=LIKE), export) == [["l"], []]


async def test_counts_by_collection_and_by_month(table: asyncpg.Connection) -> None:
    for rkey, at in (("a", 0), ("b", 40), ("c", 41)):
        await insert(table, rkey, at * DAY_US)
    await insert(table, "d", 41 * DAY_US, collection=LIKE)
    await insert(table, "e", 90 * DAY_US, did=OTHER_DID)
    stats, nothing = await count(table, DID), await count(table, "did:web:nobody.example")
    assert (stats.records, stats.first_at_us, stats.last_at_us) == (4, 0, 41 * DAY_US)
    assert [(one.collection, one.records) for one in stats.collections] == [(LIKE, 1), (POST, 3)]
    assert [(one.month, one.records) for one in stats.months] == [("1970-01", 1), ("1970-02", 3)]
    assert stats.bytes == sum(one.bytes for one in stats.collections) > 0
    assert (nothing.records, nothing.collections, nothing.months) == (0, [], [])


async def test_what_is_being_deleted_is_not_shown(table: asyncpg.Connection) -> None:
    await table.execute("INSERT INTO repo (did) VALUES ($1)", DID)
    await insert(table, "a", 1)
    await insert(table, "b", 1, collection=LIKE)
    await write_change(table, ChangePrivacy(did=DID, collection=POST, excluded=True), {})
    assert [one.collection for one in (await count(table, DID)).collections] == [LIKE]
    assert await all_pages(table, newest()) == [[]]
    assert await all_pages(table, RecordsQuery(did=DID), export) == [["b"], []]
    await write_change(table, ChangePrivacy(did=DID, delete=True), {})
    assert (await count(table, DID)).records == 0
    assert await all_pages(table, RecordsQuery(did=DID), export) == [[]]
    assert await all_pages(table, newest(collection=LIKE, text="b")) == [[]]


async def test_no_page_reads_other_peoples_rows(table: asyncpg.Connection) -> None:
    await many(table, 20_000, OTHER_DID)
    await many(table, 300, DID)
    await table.execute("ANALYZE record")
    for name, arguments in (
        ("browse_records", (DID, POST, 2**52, "~", 50, None, 50, PAGE_BYTES)),
        ("browse_reach", (DID, POST, 2**52, "~", 50)),
        ("export_records", (DID, POST, "", 50, PAGE_BYTES)),
        ("next_collection", (DID, "")),
    ):
        plan = await table.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {SQL[name]}", *arguments)
        for node in nodes(json.loads(plan)[0]["Plan"]):
            assert node["Node Type"] != "Seq Scan" or not node["Relation Name"].startswith("record_post"), name
            assert node.get("Actual Rows", 0) <= 300, (name, node["Node Type"])
            assert node.get("Rows Removed by Filter", 0) == 0, name


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)
