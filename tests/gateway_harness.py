"""A running gateway for tests: the real application on a real socket, in the test's own event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from api_gateway.app import create_app
from api_gateway.auth.methods import Method
from api_gateway.settings import GatewaySettings
from bus_client import bus_client
from headwater.bus.job_store import JobStore
from headwater.bus.jobs import BackfillRequest
from headwater.bus.queries import AccountQuery, AccountSettings, AccountStats, CollectionCount
from headwater.bus.round_trip import round_trip
from headwater.bus.streams import BUCKET_JOBS, STREAM_REQUESTS
from headwater.bus.subjects import ACCOUNT_SETTINGS, ACCOUNT_STATS, RequestLane, request_subject
from headwater.clock import now_us
from headwater.presence import WorkerPresence
from headwater.service import Server, Tasks
from simulator.account import Account
from waiting import until

GATEWAY_DID = "did:web:gateway.test"
PROBLEM = "application/problem+json"


def problem(response: httpx.Response, status: int, reason: str) -> dict[str, Any]:
    """The problem document of an answer, which has to be a whole one (RFC 9457)."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["reason"] == reason
    assert document["title"]
    assert document["detail"]
    return document


@dataclass
class RunningGateway:
    """A gateway, a client for it, and what its tokens are."""

    client: httpx.AsyncClient
    home: Path
    tasks: Tasks
    app: FastAPI

    @property
    def operator(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.home / 'operator-token').read_text().strip()}"}

    async def ask(self, account: Account, days: object = 0, **claims: Any) -> httpx.Response:
        """POST /api/user/backfill with a fresh token."""
        return await self.client.post(
            "/api/user/backfill", json={"days": days}, headers=bearer(account, Method.REQUEST_BACKFILL, **claims)
        )

    async def read(self, account: Account, path: str, method: Method) -> httpx.Response:
        return await self.client.get(f"/api/user/{path}", headers=bearer(account, method))

    async def cancel(self, account: Account, job_id: str) -> httpx.Response:
        return await self.client.delete(f"/api/user/backfill/{job_id}", headers=bearer(account, Method.CANCEL_BACKFILL))


def bearer(account: Account, method: Method, **claims: Any) -> dict[str, str]:
    """A service-auth token for the gateway, as a header."""
    token = account.service_auth(claims.pop("aud", GATEWAY_DID), claims.pop("lxm", method.value), **claims)
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def running_gateway(nats_url: str, plc_url: str, home: Path, **settings: Any) -> AsyncIterator[RunningGateway]:
    """A gateway that is connected to the bus."""
    given = {"nats_url": nats_url, "plc_url": plc_url, "headwater_home": home, "gateway_did": GATEWAY_DID}
    given |= {"allow_private_hosts": True, "headwater_cooldown_seconds": 600} | settings
    tasks = Tasks()
    app = create_app(GatewaySettings(_env_file=None, **given), tasks)
    server = Server(app, "127.0.0.1", 0)
    tasks.bind(server)
    serving = asyncio.create_task(server.serve())
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
            await until(lambda: _connected(client))
            yield RunningGateway(client, home, tasks, app)
    finally:
        server.stop()
        await serving
    assert not tasks.failed


async def _connected(client: httpx.AsyncClient) -> bool:
    answer = await client.get("/readyz")
    return bool(answer.json()["conditions"]["nats"] == "ok")


class Bystander:
    """A bus client of the test's own: looks at the queue, and stands for the services that are not running."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.js: JetStreamContext = client.jetstream(timeout=60)
        self.settings = AccountSettings(did="")
        self.counting = False
        self.asked: list[str] = []

    async def jobs(self) -> JobStore:
        return JobStore(await self.js.key_value(BUCKET_JOBS))

    async def queued(self, did: str) -> BackfillRequest | None:
        try:
            message = await self.js.get_last_msg(STREAM_REQUESTS, request_subject(RequestLane.USER, did))
        except NotFoundError:
            return None
        return BackfillRequest.model_validate_json(message.data or b"")

    async def queue_length(self) -> int:
        return (await self.js.stream_info(STREAM_REQUESTS)).state.messages

    async def answer_as_indexer(self) -> None:
        """Reply to what the gateway asks the indexer: ``settings`` as they stand, and two collections."""
        await self.client.subscribe(ACCOUNT_SETTINGS, cb=self._settings)
        await self.client.subscribe(ACCOUNT_STATS, cb=self._stats)
        await round_trip(self.client)

    async def _settings(self, message: Msg) -> None:
        did = AccountQuery.model_validate_json(message.data).did
        self.asked.append(did)
        await message.respond(self.settings.model_copy(update={"did": did}).model_dump_json().encode())

    async def _stats(self, message: Msg) -> None:
        did = AccountQuery.model_validate_json(message.data).did
        if self.counting:
            counted = AccountStats(did=did, records=0, collections=[], counting=True)
            await message.respond(counted.model_dump_json().encode())
            return
        counts = [CollectionCount(collection="app.bsky.feed.post", records=7)]
        await message.respond(AccountStats(did=did, records=7, collections=counts).model_dump_json().encode())


@asynccontextmanager
async def bystander(nats_url: str) -> AsyncIterator[Bystander]:
    """A bus client for the test."""
    async with bus_client(nats_url) as client:
        yield Bystander(client)


def worker(service: str, worker_id: int = 0, worker_count: int = 1, *, ready: bool = True) -> WorkerPresence:
    """The heartbeat of a worker."""
    return WorkerPresence(
        service=service,
        worker_id=worker_id,
        worker_count=worker_count,
        pid=1,
        host="test",
        ready=ready,
        conditions={"postgres": "ok" if ready else "connection refused"},
        started_at_us=now_us(),
        seen_at_us=now_us(),
    )


async def events(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The JSON of each server-sent event."""
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))
