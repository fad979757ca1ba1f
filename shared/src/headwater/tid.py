"""TIDs: 64-bit clock readings as 13 sortable characters, used as revs and as most record keys.

Source: https://atproto.com/specs/tid. Layout: one zero bit, 53 bits of microseconds since the Unix
epoch, 10 bits of clock identifier; base32-sortable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from headwater.errors import InvalidInputError, Reason

_ALPHABET: Final = "234567abcdefghijklmnopqrstuvwxyz"
# 13 characters are 65 bits, so the first one comes from the alphabet's lower half. The specification's
# syntax lets the top bit be set all the same: such a TID reads as a later time, never as a negative one.
_TID: Final = re.compile(r"[2-7a-j][2-7a-z]{12}")
TID_LENGTH: Final = 13
_BITS: Final = 64
# Every other byte becomes one that no number has; Python's int() would let signs, blanks and underscores pass.
_TO_BASE32: Final = bytes(
    b"0123456789abcdefghijklmnopqrstuv"[_ALPHABET.index(chr(byte))] if chr(byte) in _ALPHABET else 0x21
    for byte in range(256)
)
_TO_BASE32_IN_LINES: Final = _TO_BASE32[:10] + b"\n" + _TO_BASE32[11:]
_CLOCK_BITS: Final = 10
_MAX_MICROSECONDS: Final = (1 << 53) - 1
_MAX_CLOCK_ID: Final = (1 << _CLOCK_BITS) - 1


def is_tid(text: str) -> bool:
    """Whether the text is a TID by syntax."""
    return _TID.fullmatch(text) is not None


def tid_time(text: str) -> int | None:
    """The TID's time in microseconds since the Unix epoch, or None when the text is no TID."""
    # Called for every record. The number itself tells whether the text was a TID, faster than a pattern does.
    if len(text) != TID_LENGTH:
        return None
    try:
        number = int(text.encode().translate(_TO_BASE32), 32)
    except ValueError:
        return None
    return None if number >> _BITS else number >> _CLOCK_BITS


def tid_times(texts: Sequence[str]) -> list[int] | None:
    """``tid_time`` of many, in half the time; None when one of them is no TID."""
    if set(map(len, texts)) != {TID_LENGTH}:
        return None
    words = "\n".join(texts).encode().translate(_TO_BASE32_IN_LINES).split(b"\n")
    try:
        times = [int(word, 32) >> _CLOCK_BITS for word in words]
    except ValueError:
        return None
    return times if max(times) >> (_BITS - _CLOCK_BITS) == 0 and len(times) == len(texts) else None


def tid_microseconds(tid: str) -> int:
    """As ``tid_time``, for what must be a TID. Raises InvalidInputError(SYNTAX) when it is none."""
    microseconds = tid_time(tid)
    if microseconds is None:
        raise InvalidInputError(Reason.SYNTAX, f"not a TID: {tid[:40]!r}")
    return microseconds


def tid_from(microseconds: int, clock_id: int = 0) -> str:
    """The TID of a time in microseconds since the epoch (53 bits) and a clock identifier (10 bits).

    Raises ValueError when either does not fit: that is the caller's mistake, not somebody's input.
    """
    if not 0 <= microseconds <= _MAX_MICROSECONDS or not 0 <= clock_id <= _MAX_CLOCK_ID:
        raise ValueError(f"no TID holds {microseconds} µs and clock {clock_id}")
    number = microseconds << _CLOCK_BITS | clock_id
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(60, -5, -5))
