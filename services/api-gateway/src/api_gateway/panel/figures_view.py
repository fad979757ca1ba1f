"""The figures of an account as its page shows them: a chart over time, sizes, how fresh they are; pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from headwater.bus.queries import AccountSettings, MonthCount
from headwater.bus.records import StoredRecord
from headwater.tid import tid_time

MONTHS_SHOWN: Final = 60
CHART_HEIGHT: Final = 60
BAR_WIDTH: Final = 10


@dataclass(frozen=True, slots=True)
class Bar:
    """A month: where its bar stands, in units of the drawing, and what it says."""

    x: int
    height: int
    said: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The bars of all months from the first to the last, at most ``MONTHS_SHOWN``."""

    bars: tuple[Bar, ...]
    first: str
    last: str
    most: int

    @property
    def width(self) -> int:
        """Of the drawing."""
        return len(self.bars) * BAR_WIDTH


def chart(months: Sequence[MonthCount]) -> Chart | None:
    """The chart of counts by month, oldest first; None where there is nothing to draw."""
    if not months:
        return None
    last = _number(months[-1].month)
    first = max(_number(months[0].month), last - MONTHS_SHOWN + 1)
    counts = {_number(month.month): month.records for month in months}
    shown = [(month, counts.get(month, 0)) for month in range(first, last + 1)]
    most = max(count for _, count in shown)
    bars = tuple(
        Bar(index * BAR_WIDTH, _height(count, most), f"{_name(month)}: {count:,}")
        for index, (month, count) in enumerate(shown)
    )
    return Chart(bars, _name(first), _name(last), most)


def sync_words(settings: AccountSettings, now_us: int) -> str:
    """Whether what is held is in step with the account's repo, as a sentence."""
    if settings.opted_out:
        return "You have opted out: nothing new of yours is taken."
    if settings.rev is None:
        return "This site does not follow your account yet."
    changed = tid_time(settings.rev)
    since = f" The newest change held is {_ago(now_us - changed)} old." if changed is not None else ""
    if settings.sync_state != "synchronized":
        return f"Something of yours may be missing; it is being fetched again.{since}"
    if settings.incomplete:
        return f"A collection that was let in again is incomplete: start a backfill of all time.{since}"
    return f"In step with your account, as far as this site follows it.{since}"


def text_of(record: StoredRecord) -> str:
    """A record in a line for people: what it says, or whom or what it is about."""
    value = _value(record)
    for name in ("text", "displayName", "name", "title", "description"):
        if isinstance(value.get(name), str) and value[name].strip():
            return str(value[name])
    subject = value.get("subject")
    if isinstance(subject, dict):
        subject = subject.get("uri")
    return str(subject) if isinstance(subject, str) else ""


def pretty(record: StoredRecord) -> str:
    """A record's JSON, indented."""
    return json.dumps(json.loads(record.record), indent=2, ensure_ascii=False) if record.record is not None else ""


def _value(record: StoredRecord) -> dict[str, Any]:
    value = json.loads(record.record) if record.record is not None else {}
    return value if isinstance(value, dict) else {}


def _height(count: int, most: int) -> int:
    return max(1, count * CHART_HEIGHT // most) if count else 0


def _number(month: str) -> int:
    year, number = month.split("-")
    return int(year) * 12 + int(number) - 1


def _name(number: int) -> str:
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def _ago(micros: int) -> str:
    minutes = max(0, micros) // 60_000_000
    for size, name in ((1_440, "day"), (60, "hour")):
        if minutes >= size:
            count = minutes // size
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{minutes} minute{'' if minutes == 1 else 's'}"
