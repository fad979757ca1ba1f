"""A record's DAG-CBOR as the JSON form of the data model: ``{"$link": ...}`` and ``{"$bytes": ...}``.

Strict and bounded: a record block is a stranger's bytes. Sources: https://atproto.com/specs/data-model and
https://ipld.io/specs/codecs/dag-cbor/spec/#strictness.

What the specifications leave open is decided here:

- A record is at most ``MAX_RECORD_BYTES`` of CBOR and ``MAX_DEPTH`` containers deep. The largest real record
  seen has 29 KB, the deepest 17 levels; PDSes refuse 1 MB.
- Integers beyond signed 64 bits are refused: no column and few languages hold them.
- A tag 42 must hold a CIDv1.
- A map with a key ``$link`` or ``$bytes`` is a mistake of the record's author but his data: it is kept, and the
  record counts as not exact, since its JSON reads as if it held a real link or real bytes.
- What ``$type`` says is not looked at: a repo's records are what its MST holds, and readers filter by type.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from itertools import repeat
from operator import add
from typing import Any, Final

import libipld
import orjson

from headwater.cid import CID_LENGTH, PREFIX_LENGTH, PREFIXES, cid_text
from headwater.dagcbor import MAX_DEPTH, FloatError, Link, NotStrictError, TooDeepError, decode, encode_head
from headwater.errors import InvalidInputError, Reason

MAX_RECORD_BYTES: Final = 1_000_000

_INT64: Final = range(-(1 << 63), 1 << 63)
# Up to these lengths, the longer one only with few containers, lying lengths cost milliseconds; looking for them
# costs more.
_MAX_UNCOUNTED_BYTES: Final = 1_024
_MAX_UNCHECKED_BYTES: Final = 16_384
_ARRAY: Final = 0x80
_MAP: Final = 5
# Version, codec, hash function and digest length, each a varint (https://github.com/multiformats/cid).
_CID_FIELDS: Final = 4
_FLOAT64: Final = 0xFB
_NO_CONTAINER_HEADS: Final = bytes(byte for byte in range(256) if byte >> 5 not in (4, _MAP))

# The head of an integer that may exceed 64 bits with a sign; strings can hold the same bytes. Below the range of those
# no encoder of JSON goes that is used here.
_LARGE_UNSIGNED: Final = re.compile(rb"\x1b[\x80-\xff]").search
_LARGE_UNSIGNEDS: Final = re.compile(rb"\x1b[\x80-\xff]").findall
_TAG: Final = 0xD8
# The head of a link's tag, where what follows is not what nearly every link begins with.
_UNUSUAL_LINK: Final = re.compile(rb"\xd8\x2a(?!\x58\x25\x00\x01[\x55\x71]\x12\x20)").search
# What a key that the JSON form reserves contains. One pattern takes half as long as two looks for a string.
_RESERVED_KEY: Final = re.compile(rb"\$(?:link|bytes)").search


_decode: Final = libipld.decode_dag_cbor
_encode: Final = libipld.encode_dag_cbor
_dumps: Final = orjson.dumps
_BREAK: Final = orjson.Fragment(b"\n")


def json_form(block: bytes) -> tuple[dict[str, Any], bytes, bool]:
    """The record in a block as values, as JSON text in UTF-8, and whether the text holds it exactly.

    Among the values, links and byte strings may still be bytes; in the text they are ``{"$link": ...}`` and
    ``{"$bytes": ...}``.

    Most blocks go a fast way. Its decoder is lenient, but what it took leniently comes out differently when encoded
    again. It gives links as bytes, and the encoder makes a link of bytes that read as a CID, so a byte string that
    only looks like one comes out differently too. Hence bytes that are a CID are a link there, and others are not.

    Raises InvalidInputError: RECORD_TOO_LARGE, RECORD_TOO_DEEP, RECORD_CBOR (malformed or not canonical),
    RECORD_FLOAT, RECORD_INTEGER, RECORD_NOT_MAP.
    """
    size = len(block)
    if size > MAX_RECORD_BYTES:
        raise InvalidInputError(Reason.RECORD_TOO_LARGE, f"{size} bytes of CBOR")
    # What the fast way would take wrongly or pay dearly for. A look for one byte costs a fifth of a look for a pattern,
    # and mostly there is none; a function for them would cost more than they do.
    if not (
        (size > _MAX_UNCOUNTED_BYTES and _is_costly(block))
        or _FLOAT64 in block
        or (0x1B in block and _LARGE_UNSIGNED(block) is not None)
        or (_TAG in block and _UNUSUAL_LINK(block) is not None)
        or _RESERVED_KEY(block) is not None
    ):
        try:
            value = _decode(block)
            if _encode(value) == block and type(value) is dict:
                text = _dumps(value, _json_of_bytes)
                if size <= MAX_DEPTH or text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
                    return value, text, True
        except (ValueError, RecursionError, orjson.JSONEncodeError):
            pass  # whatever it was, the exact reader says it
    return _unusual_form(block)


def usual_json_forms(blocks: Sequence[bytes]) -> tuple[list[dict[str, Any]], list[str], int] | None:
    """The values of many blocks, their JSON texts and the size of all of these in bytes, if all can go the fast way.

    None when one of them cannot, which then ``json_form`` has to find. It does the same as that, but looks, encodes and
    compares once for all, which takes half the time. What is said of the blocks joined holds for each: a pattern across
    a boundary is only found where none is, and since no encoding of a value is the beginning of another's, texts of
    equal values that are equal when joined are equal one by one.

    What looks like a float or a large integer is mostly a part of some link's hash. It is, if as many of them are found
    within the byte strings that were read, links among them.
    """
    joined = b"".join(blocks)
    suspects = _suspects(joined)
    if (
        (_TAG in joined and _UNUSUAL_LINK(joined) is not None)
        or _RESERVED_KEY(joined) is not None
        or (
            max(map(len, blocks)) > _MAX_UNCOUNTED_BYTES
            and any(_is_costly(b) for b in blocks if len(b) > _MAX_UNCOUNTED_BYTES)
        )
    ):
        return None
    strings: list[bytes] = []

    def form(value: bytes) -> dict[str, str]:
        strings.append(value)
        return _json_of_bytes(value)

    try:
        values = list(map(_decode, blocks))
        if set(map(type, values)) != {dict} or _encode(values) != encode_head(_ARRAY, len(values)) + joined:
            return None
        # Inside JSON there is no line break, so that behind a comma it stands between two records.
        text = _dumps([part for value in values for part in (value, _BREAK)], form)
    except (ValueError, RecursionError, orjson.JSONEncodeError):
        return None
    if suspects and suspects != sum(map(_suspects, strings)):
        return None
    texts = text[1:-3].decode().split(",\n,")
    # Of all brackets each of the other records has one at least, and one is around all of them.
    if text.count(b"[") + text.count(b"{") - len(texts) > MAX_DEPTH and max(map(add, *_brackets(texts))) > MAX_DEPTH:
        return None
    return values, texts, len(text)


def _suspects(data: bytes) -> int:
    """How often the head of a float or of a large integer seems to stand in some bytes."""
    found = data.count(_FLOAT64) if _FLOAT64 in data else 0
    return found + len(_LARGE_UNSIGNEDS(data)) if 0x1B in data else found


def _brackets(texts: Sequence[str]) -> tuple[Iterator[int], Iterator[int]]:
    """How many of each kind of opening bracket each text has, within strings as well."""
    return map(str.count, texts, repeat("[")), map(str.count, texts, repeat("{"))


def _is_costly(block: bytes) -> bool:
    """Whether lying lengths in a block could keep a decoder busy."""
    return len(block) > _MAX_UNCHECKED_BYTES or len(block.translate(None, _NO_CONTAINER_HEADS)) > MAX_DEPTH


def _unusual_form(block: bytes) -> tuple[dict[str, Any], bytes, bool]:
    decoded = _checked(block)
    if not isinstance(decoded, dict):
        raise InvalidInputError(Reason.RECORD_NOT_MAP, f"a record is a map, not {block[:20]!r}")
    value = _converted(decoded)
    return value, _dumps(value), not _has_reserved_key(decoded)


def _json_of_bytes(value: Any) -> dict[str, str]:
    if len(value) == CID_LENGTH and value[:PREFIX_LENGTH] in PREFIXES:
        return {"$link": cid_text(value)}
    return _bytes_form(value)


def _checked(block: bytes) -> Any:
    """The value of any block; slower, and with the exact reason for a refusal."""
    try:
        return decode(block)
    except TooDeepError as error:
        raise InvalidInputError(Reason.RECORD_TOO_DEEP, str(error)) from None
    except FloatError as error:
        raise InvalidInputError(Reason.RECORD_FLOAT, str(error)) from None
    except NotStrictError as error:
        raise InvalidInputError(Reason.RECORD_CBOR, str(error)[:200]) from None


def _converted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _converted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_converted(item) for item in value]
    if isinstance(value, bytes):
        return _bytes_form(value)
    if isinstance(value, Link):
        return {"$link": _link_text(value.cid)}
    if isinstance(value, int) and value not in _INT64:
        raise InvalidInputError(Reason.RECORD_INTEGER, str(value))
    return value


def _link_text(cid: bytes) -> str:
    """A CIDv1 of any codec and hash in base32. Raises InvalidInputError(RECORD_CBOR) for other bytes."""
    at = 0
    fields: list[bytes] = []
    while at < len(cid) and len(fields) < _CID_FIELDS:
        start = at
        while at < len(cid) - 1 and cid[at] & 0x80:
            at += 1
        at += 1
        fields.append(cid[start:at])
    if len(fields) < _CID_FIELDS or fields[0] != b"\x01" or len(fields[3]) > 1 or fields[3][0] != len(cid) - at:
        raise InvalidInputError(Reason.RECORD_CBOR, "a link that is no CIDv1")
    return "b" + base64.b32encode(cid).decode().lower().rstrip("=")


def _has_reserved_key(value: Any) -> bool:
    if isinstance(value, dict):
        return "$link" in value or "$bytes" in value or any(_has_reserved_key(item) for item in value.values())
    return isinstance(value, list) and any(_has_reserved_key(item) for item in value)


def _bytes_form(value: Any) -> dict[str, str]:
    """``{"$bytes": ...}``: base64 without padding."""
    return {"$bytes": base64.b64encode(value).decode().rstrip("=")}
