"""What operators and users say to the gateway, over HTTP, as their own programs would."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from e2e.running_stack import RunningStack

Job = dict[str, Any]
FINAL = frozenset({"done", "failed", "cancelled"})
_PATIENCE_SECONDS = 180.0
_LOOK_SECONDS = 0.1


class GatewayClient:
    """Speaks to one gateway; ``token`` is the operator's, a user brings a token of their own with each request."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self._operator = {"Authorization": f"Bearer {token}"}
        #: Jobs whose requests the gateway took back because the bus had not confirmed them.
        self.withdrawn: set[str] = set()
        self.http = httpx.AsyncClient(base_url=url, timeout=60, trust_env=False)

    # -- as the operator

    async def ask(self, actor: str, days: int = 0) -> httpx.Response:
        """POST /api/admin/backfill."""
        return await self.http.post("/api/admin/backfill", json={"actor": actor, "days": days}, headers=self._operator)

    async def begin(self, actor: str, days: int = 0) -> str:
        """Ask for a backfill that must be accepted; the job's id."""
        return accepted(await self.ask(actor, days))

    async def begin_patiently(self, actor: str, days: int = 0) -> str:
        """As ``begin``, while the gateway or what it needs may be away; a request that got in after all counts."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                answer = await self.ask(actor, days)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code in (202, 409):
                return str(answer.json()["job_id"])
            if answer is not None and answer.status_code == 503:
                self.withdrawn.add(answer.json().get("job_id", ""))
            assert time.monotonic() < deadline, "no gateway" if answer is None else answer.text
            await asyncio.sleep(0.2)

    async def ended_patiently(self, actor: str) -> Job:
        """Begin patiently, and wait for the end."""
        while True:
            job = await self.ended(await self.begin_patiently(actor))
            # A request that was answered with 503 is withdrawn, and the next one may have met it on its way out.
            if job["state"] != "cancelled" or job["job_id"] not in self.withdrawn:
                return job

    async def begin_import(self, car: bytes, did: str, did_key: str | None = None, days: int = 0) -> str:
        """POST /api/admin/import; the job's id."""
        query = {"did": did, "days": str(days)} | ({"did_key": did_key} if did_key else {})
        answer = await self.http.post("/api/admin/import", params=query, content=car, headers=self._operator)
        return accepted(answer)

    async def post(self, path: str) -> httpx.Response:
        """POST without a body to one of the operator's routes."""
        return await self.http.post(f"/api/admin/{path}", headers=self._operator)

    async def job(self, job_id: str) -> Job:
        answer = await self.http.get(f"/api/admin/jobs/{job_id}", headers=self._operator)
        assert answer.status_code == 200, answer.text
        job: Job = answer.json()
        return job

    async def status(self) -> dict[str, Any]:
        answer = await self.http.get("/api/admin/status", headers=self._operator)
        assert answer.status_code == 200, answer.text
        status: dict[str, Any] = answer.json()
        return status

    async def firehose(self) -> dict[str, Any]:
        """How far live tail, history and gaps are."""
        answer = await self.http.get("/api/admin/firehose", headers=self._operator)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def events(self, job_id: str) -> AsyncIterator[Job]:
        """The job each time it changes, from its server-sent events, to their end."""
        path = f"/api/admin/jobs/{job_id}/events"
        async with self.http.stream("GET", path, headers=self._operator, timeout=_PATIENCE_SECONDS) as answer:
            assert answer.status_code == 200
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))

    async def until(self, job_id: str, *states: str) -> Job:
        """The job once it is in one of these states. A gateway that is away is waited for."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        job: Job | None = None
        while time.monotonic() < deadline:
            try:
                answer = await self.http.get(f"/api/admin/jobs/{job_id}", headers=self._operator)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 200:
                job = answer.json()
                if job["state"] in states:
                    return job
                assert job["state"] not in FINAL, job
            await asyncio.sleep(_LOOK_SECONDS)
        raise AssertionError(f"job {job_id} never came to be {' or '.join(states)}: {job}")

    async def ended(self, job_id: str) -> Job:
        """The job once it has ended."""
        return await self.until(job_id, *FINAL)

    async def all_ended(self, job_ids: Iterable[str]) -> list[Job]:
        return [await self.ended(job_id) for job_id in job_ids]

    async def done(self, actor: str, days: int = 0) -> Job:
        """Backfill an account; the job, which must be done."""
        return await self.until(await self.begin(actor, days), "done")

    async def failed(self, actor: str, days: int = 0) -> Job:
        """Backfill an account; the job, which must fail."""
        return await self.until(await self.begin(actor, days), "failed")

    # -- as a user, with a service-auth token

    async def user(self, method: str, path: str, token: str, **arguments: Any) -> httpx.Response:
        """A request to ``/api/user/<path>``."""
        headers = {"Authorization": f"Bearer {token}"}
        return await self.http.request(method, f"/api/user/{path}", headers=headers, **arguments)


@asynccontextmanager
async def open_gateway(stack: RunningStack) -> AsyncIterator[GatewayClient]:
    """Speaks to the stack's gateway."""
    client = GatewayClient(stack.gateway_url, stack.token)
    async with client.http:
        yield client


def accepted(answer: httpx.Response) -> str:
    """The job's id in a 202."""
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert body["success"] is True
    assert body["message"]
    return str(body["job_id"])
