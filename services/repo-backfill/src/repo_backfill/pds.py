"""Asking an account's PDS: for its newest commit, and for its whole repo as a CAR."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import quote

from headwater.errors import InvalidInputError, Reason, TransientError
from headwater.http import GuardedHttp, StreamedAnswer
from headwater.rate_limit import parse_rate_limit
from headwater.tid import is_tid
from repo_backfill.busy import BusyError
from repo_backfill.hosts import HostLimiter
from repo_backfill.xrpc import refusal

_JSON_SECONDS = 20.0
_HTTP_OK = 200


class Turn(NamedTuple):
    """With which rank a job asks a host, and how many seconds it waits for its turn before it comes again later."""

    rank: int
    patience: float


class CarLimits(NamedTuple):
    """Bounds on fetching one CAR: bytes, seconds, and bytes a second."""

    max_bytes: int
    total_seconds: float
    min_rate: float


class PdsClient:
    """Requests to PDSes, each in its host's turn.

    All methods raise TransientError (HostBusyError among them) when it may go well later, and InvalidInputError:
    NOT_FOUND, DEACTIVATED, SUSPENDED, TAKEN_DOWN, REFUSED_BY_HOST, RESPONSE_MALFORMED, HOST_FORBIDDEN.
    """

    def __init__(self, http: GuardedHttp, hosts: HostLimiter, limits: CarLimits) -> None:
        self._http = http
        self._hosts = hosts
        self._limits = limits

    async def latest_rev(self, pds: str, did: str, turn: Turn) -> str:
        """The rev of the account's newest commit (com.atproto.sync.getLatestCommit)."""
        async with self.turn(pds, turn):
            answer = await self._http.get_json(_url(pds, "getLatestCommit", did), total_timeout=_JSON_SECONDS)
            self._hosts.answered(pds, parse_rate_limit(answer.headers))
            if answer.status != _HTTP_OK:
                raise refusal(answer.status, answer.value)
        rev = answer.value.get("rev") if isinstance(answer.value, dict) else None
        if not isinstance(rev, str) or not is_tid(rev):
            raise InvalidInputError(Reason.RESPONSE_MALFORMED, "getLatestCommit without a rev")
        return rev

    @asynccontextmanager
    async def repo(self, pds: str, did: str) -> AsyncIterator[StreamedAnswer]:
        """The account's CAR (com.atproto.sync.getRepo), to be read within the context. Call it within ``turn``."""
        async with self._http.stream(
            _url(pds, "getRepo", did),
            max_bytes=self._limits.max_bytes,
            total_timeout=self._limits.total_seconds,
            min_rate=self._limits.min_rate,
        ) as answer:
            self._hosts.answered(pds, answer.rate_limit)
            if answer.status != _HTTP_OK:
                raise refusal(answer.status, await answer.read_error())
            yield answer

    @asynccontextmanager
    async def turn(self, pds: str, turn: Turn) -> AsyncIterator[None]:
        """Hold a place at a host for one request; what goes wrong in it is held against the host."""
        async with self._hosts.request(pds, rank=turn.rank, patience=turn.patience):
            try:
                yield
            except BusyError:
                raise  # we are, the host is not
            except TransientError as error:
                self._hosts.failed(pds, error)
                raise
            except InvalidInputError as error:
                self._hosts.refused(pds, error)
                raise


def _url(pds: str, method: str, did: str) -> str:
    return f"{pds}/xrpc/com.atproto.sync.{method}?did={quote(did, safe=':')}"
