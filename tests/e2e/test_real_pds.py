"""Accounts of a real PDS with a real PLC directory: every row is what the PDS itself lists."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from e2e import command
from e2e.gateway_client import GatewayClient, accepted, open_gateway
from e2e.real_network import Account, RealNetwork, created, listed, record
from e2e.running_stack import GATEWAY_DID, RunningStack
from e2e.table import assert_same, open_database, rows_of

POST, LIKE, FOLLOW = "app.bsky.feed.post", "app.bsky.feed.like", "app.bsky.graph.follow"
PROFILE, CUSTOM = "app.bsky.actor.profile", "org.example.measurement"
A_CID = "bafyreia3zwwmogntyn7zhsr6kyzvelma2l77axbldfja6jwcqbjq5e5tj4"


@pytest.fixture
async def gateway(real_stack: RunningStack) -> AsyncIterator[GatewayClient]:
    async with open_gateway(real_stack) as client:
        yield client


@pytest.fixture
async def database(real_stack: RunningStack) -> AsyncIterator[asyncpg.Connection]:
    async with open_database(real_stack) as connection:
        yield connection


class App:
    """What an account's app does on the PDS, and asks Headwater for with tokens from there."""

    def __init__(self, network: RealNetwork, gateway: GatewayClient, account: Account) -> None:
        self.network = network
        self.account = account
        self._gateway = gateway

    async def write_some_of_all(self, friend: Account) -> None:
        """Posts, likes, follows, a profile, custom records; some of them edited, some deleted; some of them old."""
        await self.network.put(self.account, PROFILE, "self", {"$type": PROFILE, "displayName": "first"})
        await self.network.put(self.account, PROFILE, "self", {"$type": PROFILE, "displayName": "second"})
        await self.network.create(self.account, FOLLOW, record(FOLLOW, subject=friend.did))
        posts = [await self.network.create(self.account, POST, record(POST, text=f"post {n}")) for n in range(6)]
        await self.network.delete(self.account, POST, posts[0])
        await self.network.put(self.account, POST, posts[1], record(POST, text="edited", langs=["en", "ja"]))
        subject = {"uri": f"at://{friend.did}/{POST}/{posts[2]}", "cid": A_CID}
        likes = [created(LIKE, record(LIKE, age_days=n, subject=subject)) for n in range(150)]
        await self.network.apply_writes(self.account, likes)
        odd: dict[str, Any] = {
            "bytes": {"$bytes": "AAEC"},
            "link": {"$link": A_CID},
            "text": "nul \x00 and 👩‍👩‍👧‍👧",
            "big": 2**53 - 1,
        }
        await self.network.create(self.account, CUSTOM, record(CUSTOM, **odd), rkey="a-_.:~Z9")
        await self.network.create(self.account, CUSTOM, {"$type": CUSTOM, "note": "no date"}, rkey="undated")

    async def asks(self, method: str, name: str, path: str, **arguments: Any) -> Any:
        token = await self.network.service_auth(self.account, GATEWAY_DID, f"app.headwater.user.{name}")
        return await self._gateway.user(method, path, token, **arguments)

    async def backfill(self, days: int) -> str:
        """Ask for the account's backfill; the job's id once it is done."""
        answer = await self.asks("POST", "requestBackfill", "backfill", json={"days": days})
        job_id = accepted(answer)
        await self._gateway.until(job_id, "done")
        return job_id


async def new_app(network: RealNetwork, gateway: GatewayClient, name: str) -> App:
    """An account with records of all kinds, and its app."""
    friend = await network.create_account(f"friend-of-{name}.test")
    app = App(network, gateway, await network.create_account(f"{name}.test"))
    await app.write_some_of_all(friend)
    return app


async def test_every_row_is_what_the_pds_lists(
    real_network: RealNetwork, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    app = await new_app(real_network, gateway, "alice")
    job_id = await app.backfill(0)
    expected = await listed(real_network, app.account)
    assert len(expected) == 159
    assert_same(await rows_of(database, app.account.did), expected)
    [job] = (await app.asks("GET", "listBackfills", "backfill")).json()["jobs"]
    assert (job["job_id"], job["state"], job["handle"]) == (job_id, "done", "alice.test")
    assert job["pds"] == real_network.pds_url
    stats = (await app.asks("GET", "getStats", "stats")).json()
    assert stats["records"] == len(expected)
    settings = (await app.asks("GET", "getSettings", "settings")).json()
    assert settings["last_backfill_at_us"] is not None


async def test_days_count_from_the_request(
    real_network: RealNetwork, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    app = await new_app(real_network, gateway, "bob")
    await app.backfill(30)
    expected = await listed(real_network, app.account)
    cutoff = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    recent = {key: row for key, row in expected.items() if row[1].get("createdAt", "9") >= cutoff}
    assert len(expected) - len(recent) == 120
    assert_same(await rows_of(database, app.account.did), recent)
    await gateway.done(app.account.did)
    assert_same(await rows_of(database, app.account.did), expected)


async def test_what_changes_on_the_pds_changes_in_the_table(
    real_network: RealNetwork, gateway: GatewayClient, database: asyncpg.Connection, real_stack: RunningStack
) -> None:
    app = await new_app(real_network, gateway, "carla")
    await app.backfill(0)
    did = app.account.did
    before = await listed(real_network, app.account)
    for _, rkey in [key for key in before if key[0] == POST][:3]:
        await real_network.delete(app.account, POST, rkey)
    await real_network.put(app.account, PROFILE, "self", {"$type": PROFILE, "displayName": "third"})
    await real_network.create(app.account, POST, record(POST, text="new"))
    await real_network.change_handle(app.account, "carla-moved.test")
    done = await command.run(real_stack.home, "backfill", did, "--json")
    assert (done.code, done.document["records_deleted"]) == (0, 3), done
    expected = await listed(real_network, app.account)
    assert expected != before
    assert_same(await rows_of(database, did), expected)
    unchanged = await command.run(real_stack.home, "backfill", "carla-moved.test", "--json")
    assert (unchanged.code, unchanged.document["unchanged"]) == (0, True), unchanged


async def test_an_account_that_is_not_there(
    real_network: RealNetwork, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    accounts = {
        "deactivated": await real_network.create_account("asleep-here.test"),
        "taken_down": await real_network.create_account("taken-here.test"),
        "not_found": await real_network.create_account("gone-here.test"),
    }
    for account in accounts.values():
        await real_network.create(account, POST, record(POST, text="before"))
    await real_network.deactivate(accounts["deactivated"])
    await real_network.take_down(accounts["taken_down"])
    await real_network.delete_account(accounts["not_found"])
    ends = {reason: await gateway.ask(account.did) for reason, account in accounts.items()}
    # A deleted account's DID is tombstoned by some versions of the PDS, and then has no job at all.
    for reason, answer in ends.items():
        if answer.status_code == 404:
            assert (reason, answer.json()["reason"]) == ("not_found", "account_deleted")
        else:
            assert (await gateway.until(accepted(answer), "failed"))["reason"] == reason
        assert await rows_of(database, accounts[reason].did) == {}
    await real_network.activate(accounts["deactivated"])
    await gateway.done(accounts["deactivated"].did)
    assert len(await rows_of(database, accounts["deactivated"].did)) == 1
