"""Asking the indexer how the table has accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeVar

import nats.errors
from nats.aio.client import Client
from pydantic import BaseModel, ValidationError

from headwater.bus.queries import MOST_STANDINGS, FollowedPage, FollowedQuery, Standings, StandingsQuery
from headwater.bus.subjects import FOLLOWED, STANDINGS
from headwater.errors import InvariantError, TransientError

_REPLY_SECONDS: Final = 30.0
A = TypeVar("A", bound=BaseModel)


class Table:
    """Request and reply over the bus. Methods raise TransientError while no indexer answers."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def standings(self, dids: Sequence[str]) -> Standings:
        """How the table has these accounts, of which there may be any number."""
        found, follows_all = [], True
        for start in range(0, len(dids), MOST_STANDINGS):
            query = StandingsQuery(dids=list(dids[start : start + MOST_STANDINGS]))
            answer = await self._ask(STANDINGS, query, Standings)
            found += answer.standings
            follows_all = answer.follows_all
        return Standings(standings=found, follows_all=follows_all)

    async def followed(self) -> AsyncIterator[list[str]]:
        """The active accounts that are followed, by DID, page by page."""
        after = ""
        while True:
            page = await self._ask(FOLLOWED, FollowedQuery(after=after), FollowedPage)
            yield page.dids
            if len(page.dids) < MOST_STANDINGS:
                return
            after = page.dids[-1]

    async def _ask(self, subject: str, question: BaseModel, answer: type[A]) -> A:
        try:
            reply = await self._client.request(subject, question.model_dump_json().encode(), timeout=_REPLY_SECONDS)
            return answer.model_validate_json(reply.data)
        except ValidationError as error:
            raise InvariantError(f"malformed {answer.__name__}: {error.error_count()} errors") from error
        except (nats.errors.Error, OSError) as error:
            raise TransientError(f"no indexer answers: {type(error).__name__}") from error
