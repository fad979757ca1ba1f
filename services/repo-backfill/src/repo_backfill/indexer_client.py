"""Asking the indexer what the table knows of a repo."""

from __future__ import annotations

import asyncio

import nats.errors
from nats.aio.client import Client
from pydantic import ValidationError

from headwater.backoff import backoff_seconds
from headwater.bus.queries import AccountQuery, RepoState
from headwater.bus.subjects import REPO_STATE
from headwater.errors import InvariantError

_REPLY_SECONDS = 5.0
_RETRY_CAP = 5.0


class IndexerClient:
    """Request and reply over the bus."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def repo_state(self, did: str) -> RepoState:
        """The state of a repo in the table.

        Waits for an indexer that is away: that is no failure of the account's host, and counts as none.
        """
        question = AccountQuery(did=did).model_dump_json().encode()
        tries = 0
        while True:
            try:
                reply = await self._client.request(REPO_STATE, question, timeout=_REPLY_SECONDS)
                return RepoState.model_validate_json(reply.data)
            except ValidationError as error:
                raise InvariantError(f"malformed RepoState: {error.error_count()} errors") from error
            except (nats.errors.Error, OSError):
                tries += 1
                await asyncio.sleep(backoff_seconds(tries, base=0.2, cap=_RETRY_CAP))
