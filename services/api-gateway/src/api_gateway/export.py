"""Exporting an account's records as one stream, page by page, at the speed of its reader."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import nats.errors

from api_gateway.bus import Bus
from api_gateway.indexer_client import records_page
from api_gateway.problems import Problem
from api_gateway.record_format import csv_header, csv_lines, json_lines
from headwater.backoff import backoff_seconds
from headwater.bus.queries import RecordPlace, RecordsQuery
from headwater.bus.records import RecordsPage, StoredRecord

log = logging.getLogger("api_gateway.export")

_TRIES: Final = 6


class ExportFormat(StrEnum):
    """What an export can be."""

    JSONL = "jsonl"
    CSV = "csv"


@dataclass(frozen=True)
class Writer:
    """How a format is written."""

    media_type: str
    header: bytes
    lines: Callable[[str, Iterable[StoredRecord]], bytes]


WRITERS: Final = {
    ExportFormat.JSONL: Writer("application/jsonl", b"", json_lines),
    ExportFormat.CSV: Writer("text/csv; charset=utf-8; header=present", csv_header(), csv_lines),
}


async def export(bus: Bus, did: str, collection: str | None, writer: Writer) -> AsyncIterator[bytes]:
    """The export in pieces of a page each. One page at a time is held, and nothing is asked before it was sent.

    A bus that is away for a while is waited for. Raises Problem when it stays away: the transfer breaks off then, and
    its reader can tell.
    """
    query = RecordsQuery(did=did, collection=collection)
    yield writer.header
    while True:
        page = await _page(bus, query)
        if page.records:
            yield writer.lines(did, page.records)
        if page.next is None:
            return
        place = RecordPlace(collection=page.next.collection, rkey=page.next.rkey)
        query = query.model_copy(update={"after": place})


async def _page(bus: Bus, query: RecordsQuery) -> RecordsPage:
    tries = 0
    while True:
        tries += 1
        try:
            return await records_page(bus, query)
        except (nats.errors.Error, Problem):
            if tries >= _TRIES:
                log.warning("an export broke off: the indexer does not answer")
                raise
            await asyncio.sleep(backoff_seconds(tries, cap=4.0))
