"""A user's request for a backfill, from the API or from the page."""

from __future__ import annotations

from api_gateway.acceptance import new_request
from api_gateway.cooldown import check_may_ask, job_running
from api_gateway.gateway import Gateway
from api_gateway.metrics import VERDICTS
from api_gateway.problems import Problem


async def ask_for_backfill(gateway: Gateway, did: str, days: int) -> str:
    """Queue a backfill of so many days (0: all time); the job's id.

    Raises Problem: 403 (opted out), 409 (one runs already), 429 (the last one is too near, or they are too many), 503.
    """
    try:
        cooldown_seconds = gateway.settings.headwater_cooldown_seconds
        await check_may_ask(gateway.bus, did, cooldown_seconds, gateway.request_limits)
        verdict = await gateway.acceptance.accept(new_request(did, days, actor=did, requested_by="user"))
        if not verdict.accepted:
            raise job_running(verdict.job_id)
    except Problem as problem:
        VERDICTS.labels("user", problem.reason).inc()
        raise
    gateway.request_limits.begun(did)
    VERDICTS.labels("user", "accepted").inc()
    return verdict.job_id
