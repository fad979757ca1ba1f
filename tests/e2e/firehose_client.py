"""What the gateway tells an operator of the firehose, waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from e2e.running_stack import RunningStack


async def firehose(stack: RunningStack) -> dict[str, Any]:
    """GET /api/admin/firehose; nothing while it cannot be answered."""
    headers = {"Authorization": f"Bearer {stack.token}"}
    async with httpx.AsyncClient(base_url=stack.gateway_url, headers=headers, timeout=60, trust_env=False) as client:
        try:
            answer = await client.get("/api/admin/firehose")
        except httpx.TransportError:
            return {}
    return dict(answer.json()) if answer.status_code == 200 else {}


async def until_firehose(
    stack: RunningStack, holds: Callable[[dict[str, Any]], bool], seconds: float = 180
) -> dict[str, Any]:
    """Wait until what is told is as wanted."""
    told: dict[str, Any] = {}
    for _ in range(int(seconds / 0.25)):
        told = await firehose(stack)
        if told and holds(told):
            return told
        await asyncio.sleep(0.25)
    raise AssertionError(f"it never came true: {told}")


def history_is_done(told: dict[str, Any]) -> bool:
    """Whether all of the plan's history is in Postgres."""
    return bool(told["history"] == "done")


def gaps_are_closed(told: dict[str, Any]) -> bool:
    """Whether there were gaps, and none is open any more."""
    return bool(told["gaps"]) and all(gap["state"] == "closed" for gap in told["gaps"])
