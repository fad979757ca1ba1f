"""What accounts decide about their data, over the whole stack: during an import, and while the firehose brings more."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import asyncpg

from e2e.gateway_client import GatewayClient, open_gateway
from e2e.running_stack import GATEWAY_DID, running_stack
from e2e.simulated import SimulatedPorts, SimulatedWorld
from e2e.table import assert_same, open_database, rows_of
from simulator import Account, Gate
from waiting import until

POST = "app.bsky.feed.post"


class Owner:
    """An account's owner, and what the table holds of the account."""

    def __init__(self, gateway: GatewayClient, database: asyncpg.Connection, account: Account) -> None:
        self._gateway = gateway
        self._database = database
        self.account = account

    async def says(self, verb: str, path: str, method: str, **body: Any) -> dict[str, Any]:
        token = self.account.service_auth(GATEWAY_DID, f"app.headwater.user.{method}")
        answer = await self._gateway.user(verb, path, token, **({"json": body} if body else {}))
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said

    async def settings(self) -> dict[str, Any]:
        return await self.says("GET", "settings", "getSettings")

    async def opt(self, out: bool) -> None:
        await self.says("PATCH", "settings", "updateSettings", opted_out=out)

    async def rows(self) -> Any:
        return await rows_of(self._database, self.account.did)

    async def seen_posts(self) -> int:
        shown = await self._database.fetchval("SELECT count(*) FROM post WHERE did = $1", self.account.did)
        return int(shown)

    async def holds_all(self) -> bool:
        return bool((await self.rows()).keys() == self.account.expected().keys())


async def test_decisions_hold_during_an_import_and_the_live_tail() -> None:
    ports = SimulatedPorts.choose()
    async with SimulatedWorld(44, ports) as world, AsyncExitStack() as ends:
        running = running_stack(ports.plc_url, **ports.variables, RELAY_URLS=world.relay.url)
        stack = await asyncio.to_thread(running.__enter__)
        ends.push_async_exit(partial(asyncio.to_thread, running.__exit__))
        gateway = await ends.enter_async_context(open_gateway(stack))
        database = await ends.enter_async_context(open_database(stack))
        alice, bob, witness = (Owner(gateway, database, world.add_account()) for _ in range(3))
        await _delete_during_an_import(gateway, alice, witness)
        await _opt_out_during_live_events(gateway, bob, witness)


async def _delete_during_an_import(gateway: GatewayClient, alice: Owner, witness: Owner) -> None:
    alice.account.seed_records(600)
    await gateway.done(alice.account.did)
    alice.account.post("so that there is something to fetch")
    gate = alice.account.fault(Gate(at=50_000))
    job_id = await gateway.begin(alice.account.did)
    await asyncio.wait_for(gate.reached.wait(), 60)
    said = await alice.says("POST", "delete-data", "deleteData", confirm=alice.account.did)
    assert said["opted_out"] is True
    assert await alice.seen_posts() == 0
    gate.open()
    assert (await gateway.until(job_id, "failed"))["reason"] == "account_deleted"

    alice.account.post("live, after all was deleted")
    await _witnessed(witness)
    await until(lambda: _is_gone(alice))
    assert await alice.rows() == {}

    await alice.opt(out=False)
    await gateway.done(alice.account.did)
    assert_same(await alice.rows(), alice.account.expected())


async def _is_gone(owner: Owner) -> bool:
    return not (await owner.settings())["deleting"]


async def _opt_out_during_live_events(gateway: GatewayClient, bob: Owner, witness: Owner) -> None:
    bob.account.seed_records(20)
    await gateway.done(bob.account.did)
    for number in range(10):
        bob.account.post(f"live {number}")
    await bob.opt(out=True)
    held = await bob.rows()
    assert await bob.seen_posts() == 0
    for number in range(10):
        bob.account.post(f"live, against my will {number}")
    await _witnessed(witness)
    assert await bob.rows() == held
    assert (await gateway.failed(bob.account.did))["reason"] == "opted_out"

    # What was dropped meanwhile is fetched without being asked for.
    await bob.opt(out=False)
    await until(bob.holds_all)
    assert_same(await bob.rows(), bob.account.expected())
    assert await bob.seen_posts() > 10


async def _witnessed(witness: Owner) -> None:
    """Wait until what the relay has said so far is in the table: what somebody else wrote last is there."""
    uri = witness.account.post("and so it was")
    key = (POST, uri.rpartition("/")[2])

    async def is_there() -> bool:
        return key in await witness.rows()

    await until(is_there)
