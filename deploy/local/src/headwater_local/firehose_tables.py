"""The firehose's state as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from headwater_local.tables import duration, plain_table

Row = Mapping[str, Any]


def firehose_tables(answer: Row, now: int) -> list[Table]:
    """What ``GET /api/admin/firehose`` answers; ``now`` in microseconds since 1970. Closed gaps are counted only."""
    gaps = [gap for gap in answer["gaps"] if gap["state"] != "closed"]
    closed = len(answer["gaps"]) - len(gaps)
    title = f"Open gaps ({closed} closed lately)" if closed else "Open gaps"
    return [
        plain_table("Firehose", ("piece", "state", "progress", "rate", "left"), _pieces(answer, now)),
        plain_table(title, ("relay", "kind", "state", "from", "to"), map(_gap, gaps)),
    ]


def _pieces(answer: Row, now: int) -> Iterable[Sequence[str]]:
    plan = answer["plan"]
    if plan is not None:
        wanted = {-1: "everything", 0: "live only"}.get(plan["days"], f"{plan['days']} days")
        state = answer["history"] or "nothing to do"
        yield "history", state, f"{wanted}, asked for by the {plan['requested_by']}", "", ""
    for tail in answer["live"]:
        yield _live(tail, now)
    if answer["replay"] is not None:
        yield _replay(answer["replay"])
    for name, crawl in (("crawl", answer["crawl"]), ("closing gaps", answer["gap_crawl"])):
        if crawl is not None:
            yield _crawl(name, crawl)


def _live(tail: Row, now: int) -> Sequence[str]:
    state = "connected" if tail["connected"] else "not connected"
    seq = "no event yet" if tail["seq"] is None else f"seq {tail['seq']:,}"
    lag = "" if tail["lag_seconds"] is None else f", {duration(tail['lag_seconds'])} behind"
    stale = (now - tail["updated_at_us"]) / 1e6
    said = f", last heard {duration(stale)} ago" if tail["updated_at_us"] and stale > 30 else ""
    name = "live" if tail["worker_count"] == 1 else f"live {tail['worker_id']} of {tail['worker_count']}"
    return name, state, f"{tail['relay']}: {seq}{lag}{said}", f"{tail['events_per_second']:,.0f}/s", ""


def _replay(replay: Row) -> Sequence[str]:
    at = "" if replay["at_us"] is None else f" at {_time(replay['at_us'])}"
    why = f", {replay['detail']}" if replay["detail"] else ""
    progress = f"{replay['events']:,} events{at}{why}"
    return "replay", replay["state"], progress, f"{replay['events_per_second']:,.0f}/s", _left(replay)


def _crawl(name: str, crawl: Row) -> Sequence[str]:
    # The relay's repos are counted beforehand; those of hosts that it leaves out come on top.
    total = "" if crawl["total"] is None or crawl["listed"] > crawl["total"] else f" of {crawl['total']:,}"
    figures = [f"{crawl['listed']:,}{total} repos listed", f"{crawl['filed']:,} filed"]
    figures += [f"{crawl[figure]:,} {figure}" for figure in ("waiting", "failed", "gone") if crawl[figure]]
    if crawl["detail"]:
        figures.append(crawl["detail"])
    return name, crawl["state"], ", ".join(figures), f"{crawl['repos_per_second']:,.0f}/s", _left(crawl)


def _gap(gap: Row) -> Sequence[str]:
    until = "" if gap["to_us"] is None else _time(gap["to_us"])
    return gap["relay"], gap["kind"].replace("_", " "), gap["state"], _time(gap["from_us"]), until


def _left(piece: Row) -> str:
    seconds = piece["seconds_left"]
    return "" if seconds is None or piece["state"] == "done" else duration(seconds)


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
