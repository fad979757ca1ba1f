"""``headwater firehose``: everybody's history and live tail, seen and steered through the gateway."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from rich.console import Console

from headwater.clock import now_us
from headwater_local.firehose_tables import firehose_tables
from headwater_local.gateway import Gateway, open_gateway
from headwater_local.settings import RunnerSettings


def show_firehose(settings: RunnerSettings, *, as_json: bool) -> None:
    """Print the plan, the live tail, replay, crawl and gaps. Raises StackError when the gateway does not answer."""
    _show(settings, lambda gateway: gateway.firehose(), as_json=as_json)


def start_history(settings: RunnerSettings, days: int, *, as_json: bool) -> None:
    """Begin the history again with other days. Raises StackError."""
    _show(settings, lambda gateway: gateway.change_firehose("backfill", days=days), as_json=as_json)


def pause_history(settings: RunnerSettings, *, as_json: bool) -> None:
    """Let replay and crawl rest. Raises StackError."""
    _show(settings, lambda gateway: gateway.change_firehose("pause"), as_json=as_json)


def resume_history(settings: RunnerSettings, *, as_json: bool) -> None:
    """Let replay and crawl go on. Raises StackError."""
    _show(settings, lambda gateway: gateway.change_firehose("resume"), as_json=as_json)


def _show(settings: RunnerSettings, ask: Callable[[Gateway], Awaitable[dict[str, Any]]], *, as_json: bool) -> None:
    async def answer() -> dict[str, Any]:
        async with open_gateway(settings) as gateway:
            return await ask(gateway)

    found = asyncio.run(answer())
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    console = Console()
    for table in firehose_tables(found, now_us()):
        console.print(table)
