"""A client of the gateway's operator API: what the commands ask, and how its answers read.

The gateway's routes and problem documents (RFC 9457) are in services/api-gateway.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import ValidationError

from headwater.bus.jobs import JobStatus
from headwater_local.errors import StackError
from headwater_local.settings import RunnerSettings
from headwater_local.stack_file import StackFile, running_stack

_TOKEN_FILE = "operator-token"  # noqa: S105 (a file name)
_CONNECT_SECONDS = 10.0
# The gateway sends a comment more often than this while a job stands still.
_SILENCE_SECONDS = 60.0
# The gateway answers when it has put the whole of a CAR, which may be gigabytes, into the object store.
_STORING_SECONDS = 900.0
# How long a gateway may be away (restarted, say) before following a job is given up.
_AWAY_SECONDS = 120.0
_RETRY_SECONDS = 0.5
# How long a stack that is starting is waited for.
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Accepted:
    """A job to follow. ``already_running``: it was not this request that began it."""

    job_id: str
    already_running: bool
    message: str


class Gateway:
    """Speaks to one gateway as an operator. Every method raises StackError with what the gateway said."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def backfill(self, actor: str, days: int) -> Accepted:
        """Ask for the backfill of ``actor`` (DID or handle); ``days`` 0 is all time."""
        return await self._accept("/api/admin/backfill", json={"actor": actor, "days": days})

    async def import_car(self, car: Path, did: str, did_key: str | None, days: int) -> Accepted:
        """Hand in the CAR at ``car`` as the repo of ``did``; the file is streamed."""
        query = {"did": did, "days": str(days)} | ({"did_key": did_key} if did_key else {})
        headers = {"Content-Type": "application/vnd.ipld.car"}
        timeout = aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS, sock_read=_STORING_SECONDS)
        with car.open("rb") as file:
            return await self._accept("/api/admin/import", params=query, data=file, headers=headers, timeout=timeout)

    async def cancel(self, job_id: str) -> None:
        """Ask for the job to stop."""
        async with self._request("POST", f"/api/admin/jobs/{job_id}/cancel") as answer:
            await _refuse_problem(answer)

    async def status(self) -> dict[str, Any]:
        """The whole stack as the gateway sees it."""
        async with self._request("GET", "/api/admin/status") as answer:
            await _refuse_problem(answer)
            return dict(await answer.json())

    async def firehose(self) -> dict[str, Any]:
        """The firehose as the gateway sees it."""
        async with self._request("GET", "/api/admin/firehose") as answer:
            await _refuse_problem(answer)
            return dict(await answer.json())

    async def change_firehose(self, action: str, **body: int) -> dict[str, Any]:
        """``backfill`` (with ``days``), ``pause`` or ``resume``; the firehose after it."""
        async with self._request("POST", f"/api/admin/firehose/{action}", json=body or None) as answer:
            await _refuse_problem(answer)
            return dict(await answer.json())

    async def dead_letters(self, query: Mapping[str, str]) -> dict[str, Any]:
        """What could not be used, newest first; ``query`` as the route takes it."""
        async with self._request("GET", "/api/admin/dead-letters", params=query) as answer:
            await _refuse_problem(answer)
            return dict(await answer.json())

    async def dead_letter(self, letter_id: int) -> dict[str, Any]:
        """One letter with its bytes."""
        async with self._request("GET", f"/api/admin/dead-letters/{letter_id}") as answer:
            await _refuse_problem(answer)
            return dict(await answer.json())

    async def retry_dead_letter(self, letter_id: int) -> dict[str, Any]:
        """Put what a letter is about on its way again."""
        async with self._request("POST", f"/api/admin/dead-letters/{letter_id}/retry") as answer:
            await _refuse_problem(answer)
            return dict(await answer.json())

    async def drop_dead_letter(self, letter_id: int) -> None:
        """Drop a letter."""
        async with self._request("DELETE", f"/api/admin/dead-letters/{letter_id}") as answer:
            await _refuse_problem(answer)

    async def follow(self, job_id: str) -> AsyncIterator[JobStatus]:
        """The job each time it changes, until it is final. A gateway that restarts meanwhile is waited for."""
        last_word = time.monotonic()
        while True:
            away: Exception | None = None
            try:
                async for status in self._events(job_id):
                    last_word = time.monotonic()
                    yield status
                    if status.state.final:
                        return
            except (aiohttp.ClientError, TimeoutError) as error:
                away = error
            if time.monotonic() - last_word > _AWAY_SECONDS:
                raise StackError(f"the gateway at {self.url} says no more of job {job_id}, which goes on") from away
            await asyncio.sleep(_RETRY_SECONDS)

    async def _events(self, job_id: str) -> AsyncIterator[JobStatus]:
        timeout = aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
        url = f"{self.url}/api/admin/jobs/{job_id}/events"
        async with self._session.get(url, timeout=timeout) as answer:
            if answer.status >= 500:
                raise aiohttp.ClientError(f"status {answer.status}")
            await _refuse_problem(answer)
            async for data in server_sent_data(answer.content):
                try:
                    yield JobStatus.model_validate_json(data)
                except ValidationError as error:
                    raise StackError(f"the gateway at {self.url} sent what is not a job: {error}") from error

    async def _accept(self, path: str, **arguments: Any) -> Accepted:
        async with self._request("POST", path, **arguments) as answer:
            body = await _json_object(answer)
            if answer.status == 409 and "job_id" in body:
                return Accepted(str(body["job_id"]), already_running=True, message=_said(body))
            await _refuse_problem(answer)
            return Accepted(str(body["job_id"]), already_running=False, message=str(body.get("message", "")))

    @asynccontextmanager
    async def _request(self, method: str, path: str, **arguments: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.request(method, self.url + path, **arguments) as answer:
                yield answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StackError(f"no answer from the gateway at {self.url}: {error or type(error).__name__}") from error


@asynccontextmanager
async def open_gateway(settings: RunnerSettings) -> AsyncIterator[Gateway]:
    """The gateway of the running stack (or GATEWAY_URL), with the operator's token of the home.

    Raises StackError when nothing runs, or the token is not there.
    """
    url = (settings.gateway_url or (await _ready_stack(settings.headwater_home)).gateway_url).rstrip("/")
    token_file = settings.headwater_home / _TOKEN_FILE
    try:
        token = token_file.read_text().strip()
    except OSError as error:
        raise StackError(f"cannot read the operator's token in {token_file}: {error.strerror}") from error
    timeout = aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield Gateway(session, url)


async def _ready_stack(home: Path) -> StackFile:
    """The stack that runs in ``home``; one that is still starting is waited for."""
    deadline = time.monotonic() + _START_SECONDS
    while not (stack := running_stack(home)).ready:
        if time.monotonic() > deadline:
            raise StackError(f"the stack in {home} is not ready yet; its log says for what it waits")
        await asyncio.sleep(_RETRY_SECONDS)
    return stack


async def server_sent_data(lines: aiohttp.StreamReader) -> AsyncIterator[str]:
    """The data of each event (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream)."""
    data: list[str] = []
    async for raw in lines:
        line = raw.decode().rstrip("\r\n")
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []


async def _refuse_problem(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 400:
        raise StackError(f"{_said(await _json_object(answer)) or answer.reason} (HTTP {answer.status})")


async def _json_object(answer: aiohttp.ClientResponse) -> Mapping[str, Any]:
    try:
        body = await answer.json(content_type=None)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _said(body: Mapping[str, Any]) -> str:
    """What a problem document, or our own refusal, says to people."""
    for key in ("detail", "message", "title", "error"):
        if isinstance(body.get(key), str) and body[key]:
            return str(body[key])
    return ""
