"""What the repo-backfill workers know of the hosts that they ask: each says it every few seconds in the ``hosts``
bucket, under its worker id, of a bounded number of hosts. Host names and errors are strangers' text."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict

MAX_HOSTS_TOLD: Final = 200
"""So many hosts of a worker are told: those with the most to say."""
MAX_HOST_ERROR: Final = 200
"""Longer errors are cut."""


class HostState(StrEnum):
    """What the limiter does with a host. ``paused`` is left alone, the others are asked as their turn comes."""

    PAUSED = "paused"
    BUSY = "busy"
    IDLE = "idle"


class PauseCause(StrEnum):
    """Why a host is left alone."""

    RETRY_AFTER = "retry_after"
    """It said for how long."""
    RATE_LIMIT = "rate_limit"
    """Its own window of requests is used up, but for a reserve."""
    FAILURES = "failures"
    """It failed several times in a row."""


class HostStatus(BaseModel):
    """One host as one worker knows it, since it was last heard of after idleness. Times in microseconds since 1970.

    ``running`` requests are under way and ``waiting`` ones wait for their turn; ``tokens`` are left of the bucket.
    ``limit`` and ``remaining`` are of the host's own RateLimit headers, if it sends any. ``errors`` counts by reason:
    ``unreachable`` for what may go well later, ``retry_after`` where the host said when, else an answer's own reason.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: str
    worker_id: int
    state: HostState
    cause: PauseCause | None
    paused_until_us: int | None
    running: int
    waiting: int
    tokens: float
    requests: int
    limit: int | None
    remaining: int | None
    failures_in_a_row: int
    errors: dict[str, int]
    last_error: str | None
    last_error_at_us: int | None


class HostsReport(BaseModel):
    """One worker's word. ``known`` hosts it remembers, of which ``hosts`` are told."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    worker_id: int
    at_us: int
    known: int
    paused: int
    hosts: list[HostStatus]
