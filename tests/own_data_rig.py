"""A gateway and an indexer on a real NATS and a real Postgres, and what users ask of both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from api_gateway.auth.cookies import session_cookie
from api_gateway.auth.methods import Method
from api_gateway.auth.sessions import begin_session
from api_gateway.bus import Bus
from api_gateway.settings import GatewaySettings
from gateway_harness import PROBLEM, Bystander, RunningGateway, bearer, bystander, running_gateway
from headwater.bus.messages import encode
from headwater.bus.subjects import backfill_subject
from headwater.service import nats_broker
from indexer.database import connect
from indexer_rig import LIKE, POST, running_indexer, snapshot
from simulator.account import Account
from simulator.world import World
from waiting import until

ROWS = {(POST, f"p{number}"): number for number in range(5)} | {(LIKE, "l"): 9}


class Stack:
    """A gateway and an indexer, and ways to look behind them."""

    def __init__(self, gateway: RunningGateway, table: asyncpg.Connection, bus: Bystander, nats_url: str) -> None:
        self.gateway = gateway
        self.table = table
        self.bus = bus
        self.nats_url = nats_url

    async def ask(self, account: Account, verb: str, path: str, method: Method, **more: Any) -> httpx.Response:
        return await self.gateway.client.request(verb, f"/api/user/{path}", headers=bearer(account, method), **more)

    async def get(self, account: Account, path: str, method: Method, **params: Any) -> Any:
        answer = await self.ask(account, "GET", path, method, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def opt(self, account: Account, out: bool) -> httpx.Response:
        return await self.ask(account, "PATCH", "settings", Method.UPDATE_SETTINGS, json={"opted_out": out})

    async def delete(self, account: Account, confirm: str) -> httpx.Response:
        return await self.ask(account, "POST", "delete-data", Method.DELETE_DATA, json={"confirm": confirm})

    async def toggle(self, account: Account, collection: str, excluded: bool) -> httpx.Response:
        body = {"collection": collection, "excluded": excluded}
        return await self.ask(account, "POST", "toggle-collection", Method.TOGGLE_COLLECTION, json=body)

    async def settings(self, account: Account) -> Any:
        return await self.get(account, "settings", Method.GET_SETTINGS)

    async def rows(self, account: Account) -> int:
        count: int = await self.table.fetchval("SELECT count(*) FROM record WHERE did = $1", account.did)
        return count

    async def fill(self, account: Account, job: str) -> None:
        """The account's rows, by a job."""
        for message in snapshot(3, ROWS, job=job, did=account.did):
            await self.bus.js.publish(backfill_subject(account.did), encode(message))
        await until(lambda: self._is_filled(account))

    async def _is_filled(self, account: Account) -> bool:
        return await self.rows(account) == len(ROWS)

    async def log_in(self, account: Account) -> httpx.AsyncClient:
        """A browser that has logged in: it has the session's cookie, and says that our own pages ask."""
        bus = Bus(nats_broker(GatewaySettings(_env_file=None, nats_url=self.nats_url), "test"))
        await bus.connect()
        secret = await begin_session(bus, account.did, account.handle)
        await bus.close()
        return httpx.AsyncClient(
            base_url=self.gateway.client.base_url,
            cookies={session_cookie(secure=False): secret},
            headers={"Sec-Fetch-Site": "same-origin"},
            timeout=60,
        )


@asynccontextmanager
async def running_both(
    nats_url: str, database_url: str, world: World, directory: Path, **settings: Any
) -> AsyncIterator[Stack]:
    """Both services, for the accounts of a world; ``settings`` are the gateway's."""
    resolver = world.hosts[0].url
    async with (
        running_gateway(nats_url, world.plc.url, directory, handle_resolver_url=resolver, **settings) as gateway,
        running_indexer(nats_url, database_url, directory) as indexer,
        bystander(nats_url) as bus,
    ):
        await indexer.until_ready()
        table = await connect(database_url, "test")
        yield Stack(gateway, table, bus, nats_url)
        await table.close()


def refused(answer: httpx.Response, status: int, reason: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["reason"] == reason
