"""An account's own records, page by page: newest first, searched, or all in the order of their keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from headwater.bus.queries import RecordsQuery
from headwater.bus.records import Place, RecordsPage, StoredRecord, encode_page
from indexer.database import Database, translated
from indexer.statements import SQL

SEARCHED_AT_ONCE: Final = 2_000
"""A search looks at so many records a page, and says how far it came: its cost is bounded, its cursor goes on."""
EXPORTED_AT_ONCE: Final = 500
PAGE_BYTES: Final = 512 * 1024
_OVERHEAD = 64 * 1024
_NEWEST_US: Final = 253_402_300_799_999_999
_BEHIND_ALL = "\x7f"


class Records:
    """Pages of records. ``max_payload`` tells the largest message. All raise TransientError when Postgres is away."""

    def __init__(self, database: Database, max_payload: Callable[[], Awaitable[int]]) -> None:
        self._database = database
        self._max_payload = max_payload
        self._turn = asyncio.Lock()

    async def page(self, query: RecordsQuery) -> bytes:
        """The page that was asked for, as a message."""
        most = await self._max_payload() - _OVERHEAD
        async with self._turn:
            connection = await self._database.connection()
            with translated():
                page = await (browse if query.newest_first else export)(connection, query)
        encoded = encode_page(page)
        # A record larger than a message can be is named, and its value left out. It is the only one of its page.
        return encoded if len(encoded) <= most else encode_page(page.without_values())


async def browse(connection: asyncpg.Connection, query: RecordsQuery) -> RecordsPage:
    """Records of one collection, newest first. Raises driver errors."""
    start = (query.did, query.collection, _NEWEST_US, _BEHIND_ALL)
    if query.after is not None:
        start = (query.did, query.collection, query.after.created_at_us, query.after.rkey)
    text = query.text
    # One more than is wanted tells whether there is more.
    looked_at = SEARCHED_AT_ONCE if text else query.limit + 1
    path = f'strict $.** ? (@ like_regex {json.dumps(text)} flag "iq")' if text else None
    found = await connection.fetch(SQL["browse_records"], *start, looked_at, path, query.limit + 1, PAGE_BYTES)
    records = [_record(row) for row in found[: query.limit]]
    if len(found) > query.limit:
        return RecordsPage(records, records[-1].place())
    if text is None or sum(len(record.record or "") for record in records) >= PAGE_BYTES:
        return RecordsPage(records, await _place_if_more(connection, query, records))
    reach = await connection.fetchrow(SQL["browse_reach"], *start, looked_at)
    if reach is None or reach["looked_at"] < looked_at:
        return RecordsPage(records, None)
    return RecordsPage(records, Place(query.collection or "", reach["rkey"], reach["created_at"]))


async def _place_if_more(
    connection: asyncpg.Connection, query: RecordsQuery, records: list[StoredRecord]
) -> Place | None:
    """Where to go on when a page ended before its limit: at its bytes, or because there are no more records."""
    if not records:
        return None
    last = records[-1].place()
    behind = await connection.fetchrow(
        SQL["browse_reach"], query.did, last.collection, last.created_at_us, last.rkey, 1
    )
    return last if behind is not None else None


async def export(connection: asyncpg.Connection, query: RecordsQuery) -> RecordsPage:
    """Records of one collection, or of all one after the other, by key. Raises driver errors."""
    collection: str | None = query.collection or ""
    rkey = ""
    if query.after is not None:
        collection, rkey = query.after.collection, query.after.rkey
    while collection is not None:
        if collection:
            found = await connection.fetch(
                SQL["export_records"], query.did, collection, rkey, EXPORTED_AT_ONCE, PAGE_BYTES
            )
            if found:
                records = [_record(row) for row in found]
                return RecordsPage(records, records[-1].place())
        if query.collection is not None:
            break
        collection, rkey = await connection.fetchval(SQL["next_collection"], query.did, collection), ""
    return RecordsPage([], None)


def _record(row: asyncpg.Record) -> StoredRecord:
    return StoredRecord(row["collection"], row["rkey"], row["cid"], row["rev"], row["created_at"], row["record"])
