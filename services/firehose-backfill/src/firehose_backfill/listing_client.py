"""Asking relays and PDSes for their lists: com.atproto.sync.listRepos and listHosts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar
from urllib.parse import urlencode

from firehose_backfill.listing import HostPage, RepoPage, parse_hosts, parse_repos
from headwater.backoff import backoff_seconds
from headwater.errors import InvalidInputError, Reason, TransientError
from headwater.http import GuardedHttp, JsonAnswer
from headwater.rate_limit import parse_rate_limit

log = logging.getLogger("firehose_backfill.listing")

_PAGE: Final = 1_000
_MAX_BYTES: Final = 4 * 1024 * 1024
_SECONDS: Final = 30.0
_RETRY_CAP: Final = 60.0
# What is left of a host's window for others.
_RESERVE: Final = 0.05
_HTTP_OK: Final = 200
T = TypeVar("T", RepoPage, HostPage)


class ListingClient:
    """Reads lists page by page; one page of a host at a time, within the limits that the host names.

    Methods raise TransientError after ``tries`` failed tries in a row, and InvalidInputError: HOST_FORBIDDEN,
    REFUSED_BY_HOST (the host has no such list), RESPONSE_MALFORMED.
    """

    def __init__(self, http: GuardedHttp) -> None:
        self._http = http

    async def repos(self, origin: str, cursor: str | None, tries: int) -> AsyncIterator[RepoPage]:
        """The pages of a host's listRepos after ``cursor``."""
        async for page in self._pages(origin, "listRepos", cursor, tries, parse_repos):
            yield page

    async def hosts(self, origin: str, cursor: str | None, tries: int) -> AsyncIterator[HostPage]:
        """The pages of a relay's listHosts after ``cursor``."""
        async for page in self._pages(origin, "listHosts", cursor, tries, parse_hosts):
            yield page

    async def _pages(
        self, origin: str, method: str, cursor: str | None, tries: int, parse: Callable[[object], T]
    ) -> AsyncIterator[T]:
        while True:
            query = {"limit": str(_PAGE)} | ({"cursor": cursor} if cursor is not None else {})
            url = f"{origin}/xrpc/com.atproto.sync.{method}?{urlencode(query)}"
            answer = await self._ask(url, tries)
            page = parse(answer.value)
            if page.cursor is not None and page.cursor == cursor:
                raise InvalidInputError(Reason.RESPONSE_MALFORMED, f"{method} of {origin} goes in a circle")
            yield page
            if page.cursor is None:
                return
            cursor = page.cursor
            await obey_rate_limit(answer)

    async def _ask(self, url: str, tries: int) -> JsonAnswer:
        failed = 0
        while True:
            try:
                answer = await self._http.get_json(url, max_bytes=_MAX_BYTES, total_timeout=_SECONDS)
            except TransientError as error:
                failed += 1
                if failed >= tries:
                    raise
                log.debug("%s: %s", url, error)
                await asyncio.sleep(error.retry_after or backoff_seconds(failed, cap=_RETRY_CAP))
                continue
            if answer.status != _HTTP_OK:
                raise InvalidInputError(Reason.REFUSED_BY_HOST, f"status {answer.status} for {url[:200]}")
            return answer


async def obey_rate_limit(answer: JsonAnswer) -> None:
    """Wait for the host's next window where this one is used up, but for a reserve."""
    limit = parse_rate_limit(answer.headers)
    if limit is not None and limit.remaining <= limit.limit * _RESERVE:
        await asyncio.sleep(limit.reset_after)
