"""Asking the indexer what the table knows of repos."""

from __future__ import annotations

import asyncio
import logging

import nats.errors
from nats.aio.client import Client
from pydantic import ValidationError

from headwater.backoff import backoff_seconds
from headwater.bus.queries import MOST_REPO_STATES, RepoState, RepoStates, RepoStatesQuery
from headwater.bus.subjects import REPO_STATES
from headwater.errors import InvariantError

log = logging.getLogger("repo_backfill.indexer_client")

_REPLY_SECONDS = 5.0
_RETRY_CAP = 5.0


class IndexerClient:
    """Request and reply over the bus. One question is under way at a time; jobs that come meanwhile share the next."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._turn = asyncio.Lock()
        self._waiting: list[tuple[str, asyncio.Future[RepoState]]] = []

    async def repo_state(self, did: str) -> RepoState:
        """The state of a repo in the table, as it is after this was called.

        Waits for an indexer that is away: that is no failure of the account's host, and counts as none.
        """
        state: asyncio.Future[RepoState] = asyncio.get_running_loop().create_future()
        self._waiting.append((did, state))
        async with self._turn:
            while not state.done():
                await self._ask()
        return state.result()

    async def _ask(self) -> None:
        """Ask for those who have waited longest. Where this is cancelled, the next one in turn asks for the others."""
        asked = self._waiting[:MOST_REPO_STATES]
        answer = await self._request([did for did, _ in asked])
        del self._waiting[: len(asked)]
        found = {state.did: state for state in answer.states}
        for did, state in asked:
            if did not in found:
                raise InvariantError(f"no state of {did} among {len(found)}")
            if not state.done():
                state.set_result(found[did])

    async def _request(self, dids: list[str]) -> RepoStates:
        question = RepoStatesQuery(dids=dids).model_dump_json().encode()
        tries = 0
        while True:
            try:
                reply = await self._client.request(REPO_STATES, question, timeout=_REPLY_SECONDS)
                return RepoStates.model_validate_json(reply.data)
            except ValidationError as error:
                raise InvariantError(f"malformed RepoStates: {error.error_count()} errors") from error
            except (nats.errors.Error, OSError) as error:
                tries += 1
                log.warning("%d jobs wait: no indexer answers (%s)", len(self._waiting), type(error).__name__)
                await asyncio.sleep(backoff_seconds(tries, base=0.2, cap=_RETRY_CAP))
