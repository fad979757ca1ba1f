"""Asking the stack's gateway as its operator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import aiohttp

from bench.errors import VoidRunError
from e2e.running_stack import RunningStack

_PATIENCE_SECONDS = 60.0


class Admin:
    """The operator's routes that a benchmark needs."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def request_all(self, dids: list[str]) -> list[str]:
        """Ask for the backfill of every account, all at once; the jobs' ids. Raises VoidRunError."""
        return await asyncio.gather(*map(self._request, dids))

    async def _request(self, did: str) -> str:
        async with self._http.post("/api/admin/backfill", json={"actor": did, "days": 0}) as answer:
            body = await answer.json()
            if answer.status != HTTPStatus.ACCEPTED:
                raise VoidRunError(f"the request of {did} was answered with {answer.status}: {body}")
            return str(body["job_id"])

    async def done(self, job_id: str) -> dict[str, Any]:
        """The job, once the API says that it is done. Raises VoidRunError when it ends otherwise."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            async with self._http.get(f"/api/admin/jobs/{job_id}") as answer:
                job: dict[str, Any] = await answer.json()
            state = job["state"] if answer.status == HTTPStatus.OK else None
            if state == "done":
                return job
            if state in ("failed", "cancelled"):
                break
            await asyncio.sleep(0.02)
        raise VoidRunError(f"job {job_id} did not come to be done: {job}")


@asynccontextmanager
async def operator(stack: RunningStack) -> AsyncIterator[Admin]:
    """Speaks to the gateway of ``stack``."""
    authorized = {"Authorization": f"Bearer {stack.token}"}
    async with aiohttp.ClientSession(stack.gateway_url, headers=authorized) as http:
        yield Admin(http)
