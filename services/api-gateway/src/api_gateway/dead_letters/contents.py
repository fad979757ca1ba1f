"""What a dead letter's bytes mean, for people; pure.

The bytes were refused, mostly because they break the rules of the strict readers: so here they are read leniently,
within bounds. Nothing that is read here goes back into the system.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from headwater.cid import CID_LENGTH, check_cid, cid_text
from headwater.errors import InvalidInputError

Format = Literal["json", "cbor", "msgpack"]

_MAX_ITEMS: Final = 50_000
_MAX_DEPTH: Final = 100
_MAX_PARTS: Final = 16
_LINK_TAG: Final = 42
_SAFE_INTEGER: Final = 1 << 53
# Major types and simple values (RFC 8949, section 3).
_NATURAL, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_SIMPLE_VALUES: Final = {20: False, 21: True, 22: None, 23: None}
_FLOAT_WIDTHS: Final = {25: "e", 26: "f", 27: "d"}


class _UnreadableError(ValueError):
    """Not CBOR, or too much of it."""


def read(payload: bytes, kind: str) -> tuple[object | None, Format | None]:
    """The value in a letter's bytes as JSON has it, and the format it was in; (None, None) for what cannot be read."""
    readers: tuple[tuple[Format, Callable[[bytes], object]], ...] = (
        ("json", msgspec.json.decode),
        ("msgpack", _of_msgpack) if kind == "message" else ("cbor", _of_cbor),
    )
    for name, reader in readers if payload else ():
        try:
            value = reader(payload)
        except (ValueError, TypeError, RecursionError):
            continue
        if _is_shallow(value):
            return value, name
    return None, None


def _of_msgpack(payload: bytes) -> object:
    return msgspec.json.decode(msgspec.json.encode(msgspec.msgpack.decode(payload)))


def _of_cbor(payload: bytes) -> object:
    parts = _Cbor(payload).parts()
    return parts[0] if len(parts) == 1 else parts


def _is_shallow(value: object) -> bool:
    """Whether whoever writes it as JSON again can: they descend by recursion."""
    layer = [value]
    for _ in range(_MAX_DEPTH):
        inner: list[object] = []
        for one in layer:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        if not inner:
            return True
        layer = inner
    return False


class _Cbor:
    """A reader of CBOR that takes floats, wrong order, unknown tags and several objects in a row."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._items = 0

    def parts(self) -> list[object]:
        """All objects, one behind the other. Raises _UnreadableError."""
        found: list[object] = []
        while self._at < len(self._data):
            if len(found) == _MAX_PARTS:
                raise _UnreadableError
            found.append(self._item(0))
        return found

    def _item(self, depth: int) -> Any:
        self._items += 1
        if depth > _MAX_DEPTH or self._items > _MAX_ITEMS:
            raise _UnreadableError
        major, short, argument = self._head()
        if major == _NATURAL:
            return _integer(argument)
        if major == _NEGATIVE:
            return _integer(-1 - argument)
        if major == _BYTES:
            return {"$bytes": base64.b64encode(self._take(argument)).decode().rstrip("=")}
        if major == _TEXT:
            return self._take(argument).decode("utf-8", "replace")
        if major == _ARRAY:
            return [self._item(depth + 1) for _ in range(self._bounded(argument))]
        if major == _MAP:
            return {self._key(depth + 1): self._item(depth + 1) for _ in range(self._bounded(argument))}
        if major == _TAG:
            return _tagged(argument, self._item(depth + 1))
        return self._simple(short, argument)

    def _head(self) -> tuple[int, int, int]:
        (first,) = self._take(1)
        major, short = first >> 5, first & 31
        if short < 24:
            return major, short, short
        if short > 27:
            raise _UnreadableError
        return major, short, int.from_bytes(self._take(1 << (short - 24)), "big")

    def _key(self, depth: int) -> str:
        key = self._item(depth)
        return key if isinstance(key, str) else f"{key}"

    def _simple(self, short: int, argument: int) -> Any:
        if short in _FLOAT_WIDTHS:
            width = 1 << (short - 24)
            (number,) = struct.unpack(">" + _FLOAT_WIDTHS[short], argument.to_bytes(width, "big"))
            return number if math.isfinite(number) else str(number)
        if argument in _SIMPLE_VALUES:
            return _SIMPLE_VALUES[argument]
        return {"$simple": argument}

    def _bounded(self, count: int) -> int:
        if count > len(self._data) - self._at:
            raise _UnreadableError
        return count

    def _take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) < size:
            raise _UnreadableError
        self._at += size
        return piece


def _integer(number: int) -> int | str:
    """Where JSON's readers would lose digits the number is text."""
    return number if abs(number) <= _SAFE_INTEGER else str(number)


def _tagged(tag: int, value: Any) -> Any:
    if tag == _LINK_TAG and isinstance(value, dict) and isinstance(value.get("$bytes"), str):
        raw = base64.b64decode(value["$bytes"] + "===")
        if raw[:1] == b"\0" and len(raw) == CID_LENGTH + 1:
            try:
                return {"$link": cid_text(check_cid(raw[1:]))}
            except InvalidInputError:
                pass
    return {"$tag": tag, "value": value}
