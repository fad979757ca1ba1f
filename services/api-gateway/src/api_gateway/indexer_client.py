"""Questions to the indexer, which alone speaks SQL: request and reply over NATS."""

from __future__ import annotations

from typing import TypeVar

import nats.errors
from pydantic import BaseModel, ValidationError

from api_gateway.bus import Bus
from api_gateway.problems import unavailable
from headwater.bus.queries import AccountQuery, AccountSettings, AccountStats
from headwater.bus.subjects import ACCOUNT_SETTINGS, ACCOUNT_STATS
from headwater.errors import InvariantError

ANSWER_SECONDS = 10.0
A = TypeVar("A", bound=BaseModel)


async def account_stats(bus: Bus, did: str) -> AccountStats:
    """What the table holds of an account. Raises Problem 503 when no indexer answers."""
    return await _ask(bus, ACCOUNT_STATS, did, AccountStats)


async def account_settings(bus: Bus, did: str) -> AccountSettings:
    """An account's settings and last successful backfill. Raises Problem 503 when no indexer answers."""
    return await _ask(bus, ACCOUNT_SETTINGS, did, AccountSettings)


async def _ask(bus: Bus, subject: str, did: str, kind: type[A]) -> A:
    question = AccountQuery(did=did).model_dump_json().encode()
    try:
        answer = await bus.client.request(subject, question, timeout=ANSWER_SECONDS)
    except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
        raise unavailable("no indexer answers") from None
    try:
        return kind.model_validate_json(answer.data)
    except ValidationError as error:
        raise InvariantError(f"the answer of {subject} is not {kind.__name__}") from error
