"""A record's time: what its createdAt says, and the effective time that cutoffs go by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat
from operator import sub
from typing import Final, cast

from headwater.syntax import MAX_DATETIME
from headwater.tid import TID_LENGTH, tid_time, tid_times

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY_MICROSECONDS: Final = 86_400_000_000
_YEAR_1_MICROSECONDS: Final = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
# The protocol's first repos are from 2022. A key that reads as an earlier TID is a word of 13 letters
# or a counter, no clock reading.
_FIRST_TID_MICROSECONDS: Final = (datetime(2022, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND

# What clients write by the million, 2024-01-01T00:00:00.000Z, by its length and what stands between the digits.
_USUAL_LENGTH: Final = 24
_USUAL_BETWEEN: Final = "--T::."
_USUAL_MARKS: Final = (*zip(range(4, 20, 3), _USUAL_BETWEEN, strict=True), (23, "Z"))

# Next to it. The pattern comes before fromisoformat, which lets stray characters pass.
_USUAL: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?Z").fullmatch
# What else real records hold: a small t or z, a blank for the T, no seconds,
# a zone without colon, or none at all (Python's utcnow().isoformat()), which then means UTC.
_LENIENT: Final = re.compile(
    r"([0-9]{4}-[01][0-9]-[0-3][0-9])[Tt ]((?:[01][0-9]|2[0-3]):[0-5][0-9])(:[0-5][0-9](?:\.[0-9]{1,40})?)?"
    r"(?:[Zz]|([+-](?:[01][0-9]|2[0-3])):?([0-5][0-9]))?"
)
_from_iso: Final = datetime.fromisoformat


def datetime_microseconds(text: str) -> int | None:
    """The moment a datetime names, in microseconds since the Unix epoch, or None when it names none.

    Reads the syntax of https://atproto.com/specs/lexicon#datetime and the slips that real records
    have. Fractions are cut to microseconds. None for what is no datetime, for days that do not exist (February 30),
    for leap seconds, and for moments before the year 1, which Python cannot hold.
    """
    if len(text) == _USUAL_LENGTH and text[4:20:3] == _USUAL_BETWEEN and text[23] == "Z" and text.isascii():
        try:
            since = _from_iso(text) - _EPOCH
        except ValueError:
            return None
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if len(text) > MAX_DATETIME:
        return None
    if _USUAL(text) is None:
        text = _strict_form(text)
    try:
        moment = _from_iso(text)
    except ValueError:
        return None
    since = moment - _EPOCH
    microseconds = since.days * _DAY_MICROSECONDS + since.seconds * 1_000_000 + since.microseconds
    return microseconds if microseconds >= _YEAR_1_MICROSECONDS else None


def datetimes_microseconds(texts: Sequence[str]) -> list[int | None]:
    """``datetime_microseconds`` of many, in half the time where all are of the usual form."""
    joined = "".join(texts)
    usual = set(map(len, texts)) == {_USUAL_LENGTH} and joined.isascii()
    if usual and all(joined[place::_USUAL_LENGTH] == mark * len(texts) for place, mark in _USUAL_MARKS):
        try:
            moments = map(sub, map(_from_iso, texts), repeat(_EPOCH))
            return [(at.days * 86_400 + at.seconds) * 1_000_000 + at.microseconds for at in moments]
        except ValueError:
            pass  # one of them is a day that does not exist
    return list(map(datetime_microseconds, texts))


def effective_time(created_at_us: int | None, rkey: str, now_us: int) -> tuple[int, bool]:
    """The time that cutoffs go by, and whether anything dates the record at all.

    min(createdAt if valid, the key's TID time if it is a TID from 2022 on, now); now when neither is
    there, as in most profiles. A record is in a cutoff's scope if it is undated or not older than the
    cutoff. All times are microseconds since the Unix epoch.
    """
    tid_us = tid_time(rkey) if len(rkey) == TID_LENGTH else None
    if tid_us is None or tid_us < _FIRST_TID_MICROSECONDS:
        if created_at_us is None:
            return now_us, False
        tid_us = created_at_us
    elif created_at_us is not None and created_at_us < tid_us:
        tid_us = created_at_us
    return (min(now_us, tid_us)), True


def effective_times(created_at_us: Sequence[int | None], rkeys: Sequence[str], now_us: int) -> list[int]:
    """``effective_time`` of many records, without whether anything dates them."""
    tids_us = tid_times(rkeys)
    if tids_us is None or min(tids_us) < _FIRST_TID_MICROSECONDS or None in created_at_us:
        pairs = zip(created_at_us, rkeys, strict=True)
        return [effective_time(created_at, rkey, now_us)[0] for created_at, rkey in pairs]
    return list(map(min, tids_us, cast("Sequence[int]", created_at_us), repeat(now_us)))


def _strict_form(text: str) -> str:
    match = _LENIENT.fullmatch(text)
    if match is None:
        return ""
    day, minute, second, zone_hour, zone_minute = match.groups()
    zone = f"{zone_hour}:{zone_minute}" if zone_hour else "Z"
    return f"{day}T{minute}{second or ':00'}{zone}"
