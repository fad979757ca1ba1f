"""Questions to the indexer, which alone speaks SQL: request and reply over NATS."""

from __future__ import annotations

from typing import TypeVar

import nats.errors
from pydantic import BaseModel, ValidationError

from api_gateway.bus import Bus
from api_gateway.problems import unavailable
from headwater.bus.queries import (
    AccountQuery,
    AccountSettings,
    AccountStats,
    ChangePrivacy,
    FetchAnewAsked,
    PrivacyChanged,
    RecordsQuery,
    StatsQuery,
)
from headwater.bus.records import RecordsPage, decode_page
from headwater.bus.subjects import ACCOUNT_SETTINGS, ACCOUNT_STATS, CHANGE_PRIVACY, FETCH_ANEW, RECORDS_PAGE
from headwater.errors import InvariantError

ANSWER_SECONDS = 10.0
PATIENCE_MS = 8_000
"""How long an account is counted before its figures are said to be on their way."""
A = TypeVar("A", bound=BaseModel)


async def account_stats(bus: Bus, did: str, patience_ms: int = PATIENCE_MS) -> AccountStats:
    """What the table holds of an account; ``counting`` where that is not known after ``patience_ms``.

    Raises Problem 503 when no indexer answers.
    """
    return _parsed(await _ask(bus, ACCOUNT_STATS, StatsQuery(did=did, patience_ms=patience_ms)), AccountStats)


async def account_settings(bus: Bus, did: str) -> AccountSettings:
    """An account's settings and last successful backfill. Raises Problem 503 when no indexer answers."""
    return _parsed(await _ask(bus, ACCOUNT_SETTINGS, AccountQuery(did=did)), AccountSettings)


async def change_privacy(bus: Bus, change: ChangePrivacy) -> PrivacyChanged:
    """Let the indexer make a change that an account has decided; it is committed when this returns.

    Raises Problem 503 when no indexer answers: it may be done then or not, and asking again does no harm.
    """
    return _parsed(await _ask(bus, CHANGE_PRIVACY, change), PrivacyChanged)


async def fetch_anew(bus: Bus, did: str) -> FetchAnewAsked:
    """Let the indexer ask for a repo of which something could not be used: it knows since when it is to be held.

    Raises Problem 503 when no indexer answers: it may be asked for then, and asking again does no harm.
    """
    return _parsed(await _ask(bus, FETCH_ANEW, AccountQuery(did=did)), FetchAnewAsked)


async def records_page(bus: Bus, query: RecordsQuery) -> RecordsPage:
    """A page of an account's own records. Raises Problem 503 when no indexer answers."""
    return decode_page(await _ask(bus, RECORDS_PAGE, query))


async def _ask(bus: Bus, subject: str, question: BaseModel) -> bytes:
    try:
        answer = await bus.client.request(subject, question.model_dump_json().encode(), timeout=ANSWER_SECONDS)
    except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
        raise unavailable("no indexer answers") from None
    return answer.data


def _parsed(answer: bytes, kind: type[A]) -> A:
    try:
        return kind.model_validate_json(answer)
    except ValidationError as error:
        raise InvariantError(f"an answer of the indexer is not {kind.__name__}") from error
