"""A record block as what the bus carries of it: JSON text, createdAt and subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from headwater.atjson import json_form, usual_json_forms
from headwater.errors import InvalidInputError, Reason
from headwater.record_time import datetime_microseconds, datetimes_microseconds
from headwater.subject import subject_of

# Control characters and short byte strings grow up to fourteenfold in JSON, and a record must fit in a message.
MAX_JSON_BYTES: Final = 4_000_000
_BACKSLASH: Final = 0x5C


class DecodedRecord(msgspec.Struct, frozen=True, gc=False):
    """One record, ready for a batch.

    ``json`` is the JSON form of the data model, without U+0000, as jsonb takes it. ``created_at_us`` is its createdAt
    in microseconds since the Unix epoch, None without a valid one. ``subject`` is whom or what it points at.
    ``raw`` is the original block where the JSON does not hold the record exactly.
    """

    json: str
    created_at_us: int | None
    subject: str | None
    raw: bytes | None


def decode_record(block: bytes) -> DecodedRecord:
    """Decode a record block of whatever collection.

    Raises InvalidInputError with one of the reasons of ``headwater.atjson.json_form``, and RECORD_TOO_LARGE when the
    JSON text exceeds MAX_JSON_BYTES.
    """
    record, text, exact = json_form(block)
    if len(text) > MAX_JSON_BYTES:
        raise InvalidInputError(Reason.RECORD_TOO_LARGE, f"{len(text)} bytes of JSON")
    # The text a backslash and u0000 looks the same here; walking the values tells them apart.
    if _BACKSLASH in text and b"\\u0000" in text and _has_nul(record):
        text = orjson.dumps(_without_nul(orjson.loads(text)))
        exact = False
    created_at = record.get("createdAt")
    return DecodedRecord(
        text.decode(),
        datetime_microseconds(created_at) if isinstance(created_at, str) else None,
        subject_of(record),
        None if exact else block,
    )


class DecodedRecords(NamedTuple):
    """Records in columns of equal length, as in ``DecodedRecord``; ``size`` is that of all their JSON, in bytes."""

    json: list[str]
    created_at_us: list[int | None]
    subject: list[str | None]
    size: int


def decode_usual_records(blocks: Sequence[bytes]) -> DecodedRecords | None:
    """Decode many record blocks at once, in half the time; None when one of them is not of the usual kind.

    What ``decode_record`` refuses, keeps in ``raw``, or has to look at twice is not of it. Pass some tens of blocks:
    all of them are in memory as values, and one that is unusual sends all of them to ``decode_record``.
    """
    forms = usual_json_forms(blocks)
    if forms is None:
        return None
    records, texts, size = forms
    if size > MAX_JSON_BYTES or any("\\u0000" in text for text in texts if "\\" in text):
        return None
    times = [record.get("createdAt") for record in records]
    return DecodedRecords(
        texts,
        datetimes_microseconds([time if isinstance(time, str) else "" for time in times]),
        [subject_of(record) for record in records],
        size,
    )


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or _has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_has_nul(item) for item in value)


def _without_nul(value: Any) -> Any:
    """The value with U+FFFD, the replacement character, for every U+0000, which jsonb refuses."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {key.replace("\0", "\ufffd"): _without_nul(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    return value
