"""Whether an account may ask for a backfill now."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Final

from api_gateway.bus import Bus
from api_gateway.indexer_client import account_settings
from api_gateway.problems import Problem
from api_gateway.queue import waiting
from api_gateway.token_buckets import TokenBuckets
from headwater.bus.queries import AccountSettings
from headwater.bus.subjects import RequestLane
from headwater.clock import now_us
from headwater.errors import Reason

PER_ACCOUNT: Final = (20, 3600.0)
"""Jobs that an account may begin at once, and the seconds in which that many come back."""


class RequestLimits:
    """How many jobs each account has begun lately, whatever became of them: there is no cooldown after one that failed
    or was cancelled, and each is kept for 30 days."""

    def __init__(self) -> None:
        self._accounts = TokenBuckets(*PER_ACCOUNT)

    def rest(self, did: str) -> float:
        """Seconds until the account may begin another one."""
        return self._accounts.wait(did, time.monotonic())

    def begun(self, did: str) -> None:
        """The account has begun one."""
        self._accounts.take(did, time.monotonic())


def job_running(job_id: str) -> Problem:
    """409: the account has a job that has not ended."""
    return Problem(
        HTTPStatus.CONFLICT, "job_running", f"the account's job {job_id} has not ended", extensions={"job_id": job_id}
    )


async def check_may_ask(bus: Bus, did: str, cooldown_seconds: int, limits: RequestLimits) -> None:
    """Raises Problem: 403 who opted out, 429 who has had a successful backfill or too many jobs lately, 503 when nobody
    knows.

    A job that runs is named (409) before that is: the caller wants to follow it. An operator who wants no cooldown (0)
    wants no limit either.
    """
    settings = await account_settings(bus, did)
    if settings.opted_out:
        raise Problem(HTTPStatus.FORBIDDEN, Reason.OPTED_OUT.value, "the account opted out of being indexed")
    if (rest := _cooldown_rest(settings, cooldown_seconds)) > 0:
        said = f"the last backfill is less than {cooldown_seconds} seconds old"
        refused = Problem(HTTPStatus.TOO_MANY_REQUESTS, "cooldown", said, retry_after=rest)
    elif cooldown_seconds and (rest := limits.rest(did)) > 0:
        said = "the account has begun many backfills in a short time"
        refused = Problem(HTTPStatus.TOO_MANY_REQUESTS, "too_many_backfills", said, retry_after=rest)
    else:
        return
    running = await waiting(bus, RequestLane.USER, did)
    raise refused if running is None else job_running(running.request.job_id)


def _cooldown_rest(settings: AccountSettings, cooldown_seconds: int) -> float:
    if settings.last_backfill_at_us is None:
        return 0.0
    return cooldown_seconds - (now_us() - settings.last_backfill_at_us) / 1_000_000
