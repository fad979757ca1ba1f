"""Whether an account may ask for a backfill now."""

from __future__ import annotations

from http import HTTPStatus

from api_gateway.bus import Bus
from api_gateway.indexer_client import account_settings
from api_gateway.problems import Problem
from api_gateway.queue import waiting
from headwater.bus.subjects import RequestLane
from headwater.clock import now_us
from headwater.errors import Reason


def job_running(job_id: str) -> Problem:
    """409: the account has a job that has not ended."""
    return Problem(
        HTTPStatus.CONFLICT, "job_running", f"the account's job {job_id} has not ended", extensions={"job_id": job_id}
    )


async def check_may_ask(bus: Bus, did: str, cooldown_seconds: int) -> None:
    """Raises Problem: 403 who opted out, 429 whose last successful backfill is too near, 503 when nobody knows.

    A job that runs is named (409) before the cooldown is: the caller wants to follow it.
    """
    settings = await account_settings(bus, did)
    if settings.opted_out:
        raise Problem(HTTPStatus.FORBIDDEN, Reason.OPTED_OUT.value, "the account opted out of being indexed")
    if settings.last_backfill_at_us is None:
        return
    rest = cooldown_seconds - (now_us() - settings.last_backfill_at_us) / 1_000_000
    if rest <= 0:
        return
    running = await waiting(bus, RequestLane.USER, did)
    if running is not None:
        raise job_running(running.request.job_id)
    raise Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "cooldown",
        f"the last backfill is less than {cooldown_seconds} seconds old",
        retry_after=rest,
    )
