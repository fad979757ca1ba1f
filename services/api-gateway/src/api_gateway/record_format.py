"""Records as users get them: JSON, JSON lines and CSV, and the cursors of their pages. Pure."""

from __future__ import annotations

import base64
import binascii
import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from headwater.bus.queries import RecordPlace
from headwater.bus.records import Place, StoredRecord
from headwater.errors import InvalidInputError, Reason
from headwater.syntax import is_nsid, is_rkey

CSV_COLUMNS: Final = ("uri", "cid", "collection", "rkey", "rev", "created_at", "record")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_US: Final = 2**57
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def uri_of(did: str, record: StoredRecord) -> str:
    """The record's AT URI (https://atproto.com/specs/at-uri-scheme)."""
    return f"at://{did}/{record.collection}/{record.rkey}"


def instant(micros: int) -> str:
    """Microseconds since 1970 as RFC 3339, in UTC."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def record_object(did: str, record: StoredRecord) -> dict[str, Any]:
    """A record for orjson. ``record`` is null where its value is larger than a message of the bus can be."""
    return {
        "uri": uri_of(did, record),
        "cid": record.cid,
        "collection": record.collection,
        "rkey": record.rkey,
        "rev": record.rev,
        "created_at": instant(record.created_at_us),
        "record": orjson.Fragment(record.record) if record.record is not None else None,
    }


def json_lines(did: str, records: Iterable[StoredRecord]) -> bytes:
    """One JSON object a line (https://jsonlines.org)."""
    return b"".join(orjson.dumps(record_object(did, record)) + b"\n" for record in records)


def csv_header() -> bytes:
    """The first line of a CSV (RFC 4180)."""
    return _csv([CSV_COLUMNS])


def csv_lines(did: str, records: Iterable[StoredRecord]) -> bytes:
    """Lines of CSV (RFC 4180); the record is JSON."""
    return _csv(
        (
            uri_of(did, record),
            record.cid,
            record.collection,
            record.rkey,
            record.rev,
            instant(record.created_at_us),
            record.record or "",
        )
        for record in records
    )


def cursor_of(place: Place) -> str:
    """Where a page ended, as an opaque text."""
    value = orjson.dumps([place.collection, place.rkey, place.created_at_us])
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def parse_cursor(text: str) -> RecordPlace:
    """The place that a cursor of ours names. Raises InvalidInputError(SYNTAX): a client may send anything."""
    try:
        value = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        collection, rkey, created_at_us = value
    except (binascii.Error, ValueError, TypeError) as error:
        raise InvalidInputError(Reason.SYNTAX, "this is no cursor of ours") from error
    if not (
        isinstance(collection, str)
        and is_nsid(collection)
        and isinstance(rkey, str)
        and is_rkey(rkey)
        and type(created_at_us) is int
        and abs(created_at_us) <= _MAX_US
    ):
        raise InvalidInputError(Reason.SYNTAX, "this is no cursor of ours")
    return RecordPlace(collection=collection, rkey=rkey, created_at_us=created_at_us)


def _csv(rows: Iterable[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([_no_formula(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def _no_formula(cell: str) -> str:
    """Spreadsheets take such a cell for a formula. Only an rkey can begin so; the URI has it as it is."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
