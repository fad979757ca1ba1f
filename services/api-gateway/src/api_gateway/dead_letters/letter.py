"""A dead letter as people and programs see it; pure.

It lies in the DEAD_LETTERS stream on ``dead.<kind>.<reason>``; its number there is its id, and its headers say where
it is from (see ``headwater.bus.dead_letters`` and the services' own modules of that name).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from headwater.frame_reader import peek_repo
from headwater.syntax import is_did

Way = Literal["republish", "fetch_anew"]

_EXAMPLE: Final[dict[str, JsonValue]] = {
    "id": 42,
    "kind": "record",
    "reason": "record_float",
    "at_us": 1764374400000000,
    "detail": "a float",
    "size": 97,
    "did": "did:plc:ewvi7nxzyoun6zhxrhs64oiz",
    "rev": "3l3qo2vutsw2b",
    "collection": "app.bsky.feed.post",
    "rkey": "3l3qo2vuowo2b",
    "cid": "bafyreia3zwwmogntyn7zhsr6kyzvelma2l77axbldfja6jwcqbjq5e5tj4",
    "job_id": "0006512bd5c1a0a1b2c3d4e5f6",
    "relay": None,
    "subject": None,
    "way": "fetch_anew",
}


class DeadLetter(BaseModel):
    """What is known of a letter without its bytes.

    ``size`` is that of what was refused, also where it was too large to be kept. ``way`` is how a retry puts it on its
    way again: a message of the bus goes back to its ``subject``, of a record or frame the account's repo is fetched
    anew; null where it names no account.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: int = Field(description="its number in the stream")
    kind: str = Field(description="record, frame or message")
    reason: str
    at_us: int = Field(description="when it was kept, in microseconds since 1970")
    detail: str
    size: int
    did: str | None
    rev: str | None
    collection: str | None
    rkey: str | None
    cid: str | None
    job_id: str | None
    relay: str | None
    subject: str | None
    way: Way | None


class DeadLetterCount(BaseModel):
    """How many letters of a kind and reason there are."""

    kind: str
    reason: str
    letters: int


class DeadLetterList(BaseModel):
    """A page of letters, newest first. ``next`` is the ``before`` of the next page, null on the last.

    ``counts`` are of all letters, ``last_id`` is the newest one's of all.
    """

    letters: list[DeadLetter]
    next: int | None
    counts: list[DeadLetterCount]
    last_id: int


class DeadLetterContent(DeadLetter):
    """A letter with its bytes. ``bytes`` is base64, empty where they were not kept; ``value`` what they mean.

    ``value`` has ``$link`` and ``$bytes`` as the data model has them, and is null for what cannot be read at all. Of a
    frame it is the list of its header and its body.
    """

    bytes: str
    value: object | None
    format: Literal["json", "cbor", "msgpack"] | None


def letter_of(
    number: int, at_us: int, subject: str, headers: Mapping[str, str], payload: bytes | None = None
) -> DeadLetter:
    """The letter of a message. Without ``payload`` a frame that nobody could read names no account."""
    _, kind, reason = subject.split(".", 2)
    did = headers.get("Headwater-Did")
    if did is None and kind == "frame" and payload:
        did = peek_repo(payload)
    did = did if did is not None and is_did(did) else None
    origin = headers.get("Headwater-Subject")
    size = headers.get("Headwater-Size", "")
    return DeadLetter(
        id=number,
        kind=kind,
        reason=reason,
        at_us=at_us,
        detail=headers.get("Headwater-Detail", ""),
        size=int(size) if size.isascii() and size.isdigit() else 0,
        did=did,
        rev=headers.get("Headwater-Rev"),
        collection=headers.get("Headwater-Collection"),
        rkey=headers.get("Headwater-Rkey"),
        cid=headers.get("Headwater-Cid"),
        job_id=headers.get("Headwater-Job"),
        relay=headers.get("Headwater-Relay"),
        subject=origin,
        way="republish" if origin is not None else "fetch_anew" if did is not None else None,
    )
