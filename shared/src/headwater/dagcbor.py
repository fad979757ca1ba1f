"""Strict DAG-CBOR: every value has exactly one encoding, and only that one is read.

Shortest lengths, sorted unique text keys, no tag but 42, no indefinite lengths, nothing after the object
(https://ipld.io/specs/codecs/dag-cbor/spec/#strictness), and no floats, which the data model does not have
(https://atproto.com/specs/data-model). So what was decoded can be encoded again to the very bytes
that were signed, and that is also how strictness is checked: a lenient decoder reads, a canonical encoder writes,
and the two have to agree to the byte.

This is the exact and slower reader, for headers, commits and the few records that hold links. MST nodes
(``headwater.mst_node``) and most records (``headwater.atjson``) have faster ones on the same principle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cbor2

from headwater.errors import InvalidInputError, Reason

MAX_DEPTH: Final = 128

# A head's major type and the largest argument that stands in the head itself (RFC 8949, section 3).
_STRINGS: Final = (2, 3)
_CONTAINERS: Final = (4, 5)
_MAP: Final = 5
_TAG: Final = 6
_SIMPLE: Final = 7
_FALSE_TRUE_NULL: Final = (20, 21, 22)
_FLOATS: Final = (25, 26, 27)
_LINK_TAG: Final = 42
_MAX_SHORT_ARGUMENT: Final = 23


@dataclass(frozen=True, slots=True)
class Link:
    """A CID inside an object, in binary and without the multibase prefix byte. Whether it is a good one is not said."""

    cid: bytes


class NotStrictError(ValueError):
    """Bytes that are not strict DAG-CBOR."""


class TooDeepError(NotStrictError):
    """Containers nested deeper than ``MAX_DEPTH``."""


class FloatError(NotStrictError):
    """A float, of whatever size."""


def decode(block: bytes) -> Any:
    """The object in a block, of dict, list, str, bytes, int, bool, None and Link.

    Raises NotStrictError, and its TooDeepError or FloatError where that is why. Work and memory are bounded by the
    block's length.
    """
    check_heads(block)
    try:
        value = cbor2.loads(
            block,
            tag_hook=_link,
            object_hook=_with_text_keys,
            max_depth=MAX_DEPTH + 1,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
        if encode(value) != block:
            raise NotStrictError("not the canonical encoding")
    except (cbor2.CBORError, OverflowError) as error:
        raise NotStrictError(str(error)) from None
    return value


def encode(value: Any) -> bytes:
    """The one encoding of what ``decode`` gave, whole or without some of its parts."""
    return cbor2.dumps(value, canonical=True, default=_encode_link)


def encode_head(major: int, number: int) -> bytes:
    """A CBOR head in its shortest form: the type ``major`` with a number (below 2^32)."""
    if number < 24:
        return bytes((major + number,))
    for info, width in ((24, 1), (25, 2)):
        if number < 1 << 8 * width:
            return bytes((major + info,)) + number.to_bytes(width, "big")
    return bytes((major + 26,)) + number.to_bytes(4, "big")


def decode_map(block: bytes, reason: Reason) -> dict[str, object]:
    """Decode a block that must be a map.

    Raises InvalidInputError(``reason``) for anything that is not strict DAG-CBOR, or not a map.
    """
    try:
        value = decode(block)
    except NotStrictError as error:
        raise InvalidInputError(reason, f"not strict DAG-CBOR: {error}"[:200]) from None
    if not isinstance(value, dict):
        raise InvalidInputError(reason, f"{type(value).__name__} instead of a map")
    return value


def check_heads(block: bytes) -> None:
    """Refuse what a decoder should not even begin with, by reading heads only.

    Containers that nest deeper than MAX_DEPTH or claim more items than there are bytes left (decoders allocate what
    is claimed, so nested claims would cost time and memory squared), and tags other than a link's (decoders compute
    what some tags stand for), floats and exotic simple values. All else that is wrong is left to the decoder.
    Raises NotStrictError.
    """
    missing = [1]  # items not yet begun, of the block itself and of each open container
    owed = 1  # their sum; each item has at least one byte
    at = 0
    while missing:
        if owed > len(block) - at:
            raise NotStrictError("claims more items than it holds")
        major, argument, at = _head(block, at)
        if major == _TAG:
            continue
        missing[-1] -= 1
        owed -= 1
        if major in _STRINGS:
            at += argument
        elif major in _CONTAINERS:
            if len(missing) > MAX_DEPTH:
                raise TooDeepError(f"more than {MAX_DEPTH} levels")
            items = 2 * argument if major == _MAP else argument
            missing.append(items)
            owed += items
        while missing and missing[-1] == 0:
            missing.pop()


def _head(block: bytes, at: int) -> tuple[int, int, int]:
    """The major type and argument of the item at ``at``, and the position after its head."""
    major, argument = block[at] >> 5, block[at] & 31
    at += 1
    if major == _SIMPLE and argument not in _FALSE_TRUE_NULL:
        raise FloatError("a float") if argument in _FLOATS else NotStrictError(f"simple value {argument}")
    if argument > _MAX_SHORT_ARGUMENT:
        width = 1 << (argument - 24)
        argument = int.from_bytes(block[at : at + width], "big")
        at += width
    if major == _TAG and argument != _LINK_TAG:
        raise NotStrictError(f"tag {argument}")
    return major, argument, at


def _link(tag: cbor2.CBORTag, _immutable: bool = False) -> Link:
    raw = tag.value
    if not isinstance(raw, bytes) or raw[:1] != b"\x00":
        raise NotStrictError("a link without its prefix")
    return Link(raw[1:])


def _with_text_keys(value: Mapping[Any, Any], _immutable: bool = False) -> Mapping[str, Any]:
    if not all(type(key) is str for key in value):
        raise NotStrictError("a key that is no text")
    return value


def _encode_link(encoder: cbor2.CBOREncoder, value: object) -> None:
    if not isinstance(value, Link):
        raise NotStrictError(f"a {type(value).__name__}")
    encoder.encode(cbor2.CBORTag(_LINK_TAG, b"\x00" + value.cid))
