"""``headwater status``: the whole stack at a glance, as the gateway sees it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from headwater.clock import now_us
from headwater_local.firehose_tables import firehose_tables
from headwater_local.gateway import open_gateway
from headwater_local.settings import RunnerSettings
from headwater_local.tables import duration, plain_table

Row = Mapping[str, Any]


def show_status(settings: RunnerSettings, *, as_json: bool) -> None:
    """Print what ``GET /api/admin/status`` answers. Raises StackError when the gateway does not."""
    answer = asyncio.run(_ask(settings))
    if as_json:
        sys.stdout.write(json.dumps(answer) + "\n")
        return
    console = Console()
    for table in tables(answer, now_us()):
        console.print(table)


async def _ask(settings: RunnerSettings) -> dict[str, Any]:
    async with open_gateway(settings) as gateway:
        return await gateway.status()


def tables(answer: Row, now: int) -> list[Table]:
    """The answer for people; ``now`` in microseconds since 1970.

    Lanes without lag, figures that are 0 and the cursors as they are kept are left out; --json has them.
    """
    lanes = [lane for lane in (*answer.get("requests", []), *answer.get("lanes", [])) if _lags(lane)]
    return [
        plain_table("Services", ("worker", "state", "for", "figures"), _workers(answer.get("workers", []), now)),
        plain_table("Streams", ("stream", "messages", "size"), map(_stream, answer.get("streams", []))),
        plain_table("Lag", ("lane", "partition", "waiting", "in flight", "redelivered"), map(_lane, lanes)),
        *(firehose_tables(answer["firehose"], now) if "firehose" in answer else []),
        plain_table("Jobs", ("state", "jobs"), _pairs(answer.get("jobs", {}))),
        plain_table("Stack", ("", "state"), _pairs(answer.get("ready", {}) | answer.get("repo_backfill", {}))),
    ]


def _workers(workers: Iterable[Row], now: int) -> Iterable[Sequence[str]]:
    for worker in workers:
        lacks = [f"{name}: {why}" for name, why in worker["conditions"].items() if why != "ok"]
        yield (
            worker["service"]
            + ("" if worker["worker_count"] == 1 else f" {worker['worker_id']} of {worker['worker_count']}"),
            "ready" if worker["ready"] else "not ready: " + ", ".join(lacks),
            duration((now - worker["started_at_us"]) / 1e6),
            ", ".join(f"{name.replace('_', ' ')} {value:,.10g}" for name, value in worker["figures"].items() if value),
        )


def _stream(stream: Row) -> Sequence[str]:
    return stream["stream"], f"{stream['messages']:,}", decimal(stream["bytes"])


def _lags(lane: Row) -> bool:
    return bool(lane["waiting"] or lane["in_flight"])


def _lane(lane: Row) -> Sequence[str]:
    partition = "" if lane["partition"] is None else str(lane["partition"])
    return lane["lane"], partition, f"{lane['waiting']:,}", f"{lane['in_flight']:,}", f"{lane['redelivered']:,}"


def _pairs(content: Row) -> Iterable[Sequence[str]]:
    for name, value in content.items():
        text = (
            ("no", "yes")[value] if isinstance(value, bool) else f"{value:,}" if isinstance(value, int) else str(value)
        )
        yield name.replace("_", " "), text
