"""How the operator's pages say numbers, times and bytes, and what they say after a button; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from api_gateway.panel.job_view import duration
from api_gateway.panel.words import Words
from api_gateway.problems import Problem
from api_gateway.stack_status import LaneStatus
from headwater.presence import WorkerPresence

SAID: Final[Mapping[str, str]] = {
    "paused": "repo-backfill takes no new requests. Jobs that run go on.",
    "resumed": "repo-backfill takes requests again.",
    "queued": "The backfill is queued. Here it is.",
    "cancelled": "The job was asked to stop. What is committed stays.",
    "retried": "It is asked for again, as this new job.",
    "history-asked": "The history begins again with these days.",
    "history-paused": "Replay, crawl and the closing of gaps rest. The live tail goes on.",
    "history-resumed": "The history goes on where it was paused.",
    "letter-sent": "The message is on its way again, and its letter is dropped.",
    "letter-fetching": "The account's repo is fetched anew by this job, and the letter is dropped.",
    "letter-dropped": "The letter is dropped.",
    "letters-dropped": "The letters are dropped.",
}
"""What a page says after a button was pressed."""

_KIBI: Final = 1024
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_HEX_ROW: Final = 16
_TEN: Final = 10


def said_words(said: str) -> Words | None:
    """The words for ``?said=``; None for anything else that somebody puts there."""
    return Words(SAID[said], "") if said in SAID else None


def problem_words(problem: Problem) -> Words:
    """What went wrong, to somebody who knows the system."""
    detail = problem.detail[:1].upper() + problem.detail[1:]
    return Words(detail if detail.endswith(".") else f"{detail}.", "")


def count(number: int) -> str:
    """A number with its thousands apart."""
    return f"{number:,}"


def rate(per_second: float | None) -> str:
    """A rate; nothing where it is not known yet."""
    if per_second is None:
        return ""
    return f"{per_second:,.0f}/s" if per_second >= _TEN or per_second == 0 else f"{per_second:,.1f}/s"


def size(number: float) -> str:
    """Bytes in the unit that fits."""
    unit = 0
    while number >= _KIBI and unit < len(_UNITS) - 1:
        number /= _KIBI
        unit += 1
    return f"{number:,.0f} {_UNITS[unit]}" if unit == 0 or number >= _TEN else f"{number:,.1f} {_UNITS[unit]}"


def ago(at_us: int | None, now_us: int) -> str:
    """How long ago; nothing for never."""
    return "" if at_us is None else f"{duration(max(0.0, (now_us - at_us) / 1_000_000))} ago"


def until(at_us: int | None, now_us: int) -> str:
    """How long still."""
    return "" if at_us is None else f"{duration(max(0.0, (at_us - now_us) / 1_000_000))}"


def figures(worker: WorkerPresence) -> str:
    """A worker's figures in a line, without those that are nothing."""
    said = []
    for name, value in worker.figures.items():
        if not value:
            continue
        if name.endswith("_per_second"):
            said.append(f"{name.removesuffix('_per_second').replace('_', ' ')} {rate(value)}")
        elif "bytes" in name:
            said.append(f"{name.replace('_bytes', '').replace('_', ' ')} {size(value)}")
        else:
            said.append(f"{name.replace('_', ' ')} {value:,.10g}")
    return ", ".join(said)


def rows_per_second(workers: Iterable[WorkerPresence], lane: str) -> float:
    """What all indexers write of a lane together."""
    return sum(worker.figures.get(f"{lane}_rows_per_second", 0.0) for worker in workers)


def hex_dump(data: bytes) -> str:
    """Bytes as people read them: offset, hexadecimal, and the letters among them."""
    rows = []
    for at in range(0, len(data), _HEX_ROW):
        row = data[at : at + _HEX_ROW]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        rows.append(f"{at:06x}  {row.hex(' '):<47}  {letters}")
    return "\n".join(rows)


@dataclass(frozen=True, slots=True)
class LaneSum:
    """A lane over all its partitions. ``rate`` is of messages, ``worst`` the partition where most waits."""

    lane: str
    waiting: int
    in_flight: int
    redelivered: int
    rate: float | None
    rows: float
    worst: str


def lane_sums(lanes: Iterable[LaneStatus], workers: Sequence[WorkerPresence]) -> list[LaneSum]:
    """The lanes, their partitions added up, with the rows that the workers say they write."""
    by_lane: defaultdict[str, list[LaneStatus]] = defaultdict(list)
    for lane in lanes:
        by_lane[lane.lane].append(lane)
    return [_sum(name, parts, rows_per_second(workers, name)) for name, parts in by_lane.items()]


def _sum(name: str, parts: list[LaneStatus], rows: float) -> LaneSum:
    rates = [part.messages_per_second for part in parts if part.messages_per_second is not None]
    worst = max(parts, key=lambda part: part.waiting)
    return LaneSum(
        lane=name,
        waiting=sum(part.waiting for part in parts),
        in_flight=sum(part.in_flight for part in parts),
        redelivered=sum(part.redelivered for part in parts),
        rate=sum(rates) if rates else None,
        rows=rows,
        worst=f"{worst.partition} ({worst.waiting:,})" if worst.waiting and worst.partition is not None else "",
    )
