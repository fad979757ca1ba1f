"""``headwater backfill`` and ``headwater cancel``: one account's repo, from its PDS."""

from __future__ import annotations

import asyncio

from headwater_local.follow import request_and_follow
from headwater_local.gateway import open_gateway
from headwater_local.settings import RunnerSettings


def backfill_actor(settings: RunnerSettings, actor: str, days: int, *, as_json: bool) -> int:
    """Backfill ``actor`` (DID or handle, with or without @) and follow the job. Returns the exit code."""
    return request_and_follow(
        settings, lambda gateway: gateway.backfill(actor.removeprefix("@"), days), as_json=as_json
    )


def cancel_job(settings: RunnerSettings, job_id: str) -> None:
    """Ask for a job to stop. Raises StackError when there is none, or it has ended."""

    async def cancel() -> None:
        async with open_gateway(settings) as gateway:
            await gateway.cancel(job_id)

    asyncio.run(cancel())
