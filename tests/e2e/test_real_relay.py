"""The real PDS as the relay: what was on it before, and everything that happens to its accounts while the stack runs.

In the end every row is what the PDS itself lists, and the `repo` table says of each account what the PDS says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from e2e.firehose_client import firehose, history_is_done, until_firehose
from e2e.real_network import Account, RealNetwork, created, listed, record
from e2e.running_stack import RunningStack, running_stack
from e2e.table import open_database, rows_of

POST, LIKE, PROFILE, CUSTOM = "app.bsky.feed.post", "app.bsky.feed.like", "app.bsky.actor.profile", "org.example.thing"
A_CID = "bafyreia3zwwmogntyn7zhsr6kyzvelma2l77axbldfja6jwcqbjq5e5tj4"
STATUS = {"active": "active", "deactivated": "deactivated", "takendown": "taken_down", "not_found": "deleted"}


@pytest.fixture
def stack_variables(_real_servers: dict[str, str]) -> dict[str, str]:
    pds = _real_servers["pds_url"]
    return {"RELAY_URLS": pds, "BACKFILL_DAYS": "30", "HANDLE_RESOLVER_URL": pds}


@pytest.fixture
async def people(real_network: RealNetwork) -> dict[str, Account]:
    """Accounts that have written before anybody listened; one has gone since, one is away."""
    names = ("writer", "renamed", "returning", "leaving", "banned", "deleted", "gone-before", "away-before", "quiet")
    people = {name: await real_network.create_account(f"{name}-told.test") for name in names}
    for account in people.values():
        for age in (0, 10, 60):
            await real_network.create(account, POST, record(POST, age, text=f"{age} days ago"))
        await real_network.put(account, PROFILE, "self", {"$type": PROFILE, "displayName": "before"})
        doomed = await real_network.create(account, POST, record(POST, text="deleted before"))
        await real_network.delete(account, POST, doomed)
    await real_network.deactivate(people["away-before"])
    await real_network.delete_account(people["gone-before"])
    return people


@pytest.fixture
def stack(
    _real_servers: dict[str, str], stack_variables: dict[str, str], people: dict[str, Account]
) -> Iterator[RunningStack]:
    with running_stack(_real_servers["plc_url"], **stack_variables) as running:
        yield running


async def test_everything_on_the_pds_is_in_the_table(
    real_network: RealNetwork, people: dict[str, Account], stack: RunningStack
) -> None:
    told = await until_firehose(stack, history_is_done)
    assert (told["replay"]["relay"], told["replay"]["reaches_cutoff"]) == (told["live"][0]["relay"], False)
    assert told["replay"]["events"] > 0
    await until_same(stack, real_network, people)

    await write(real_network, people["writer"])
    await live_through(real_network, people)
    await until_firehose(stack, lambda told: told["live"][0]["seq"] is not None)
    await asyncio.sleep(1.5)  # a cursor is saved every second
    stack.kill("firehose-backfill.0")
    await write(real_network, people["writer"])
    people["late"] = await real_network.create_account("late-told.test")
    await write(real_network, people["late"])
    await until_same(stack, real_network, people)

    handles = {name: (await real_network.describe(people[name].did))["handle"] for name in ("renamed", "writer")}
    assert handles["renamed"] == "renamed-now.test"
    async with open_database(stack) as database:
        for name, handle in handles.items():
            assert await database.fetchval("SELECT handle FROM repo WHERE did = $1", people[name].did) == handle
    assert (await until_firehose(stack, bool))["gaps"] == []


async def write(network: RealNetwork, account: Account) -> None:
    """Creates, edits, deletes, a commit of 150 writes, and a commit that does all three."""
    posts = [await network.create(account, POST, record(POST, text=f"live {n}")) for n in range(6)]
    await network.put(account, POST, posts[1], record(POST, text="edited"))
    await network.put(account, PROFILE, "self", {"$type": PROFILE, "displayName": f"at {time.monotonic()}"})
    await network.delete(account, POST, posts[0])
    subject = {"uri": f"at://{account.did}/{POST}/{posts[2]}", "cid": A_CID}
    await network.apply_writes(account, [created(LIKE, record(LIKE, subject=subject)) for _ in range(150)])
    await network.create(account, CUSTOM, {"$type": CUSTOM, "bytes": {"$bytes": "AAEC"}, "link": {"$link": A_CID}})
    await network.apply_writes(
        account,
        [
            created(POST, record(POST, text="with others")),
            _write("update", POST, posts[3], value=record(POST, text="edited with others")),
            _write("delete", POST, posts[4]),
        ],
    )


def _write(action: str, collection: str, rkey: str, **more: Any) -> dict[str, Any]:
    return {"$type": f"com.atproto.repo.applyWrites#{action}", "collection": collection, "rkey": rkey, **more}


async def live_through(network: RealNetwork, people: dict[str, Account]) -> None:
    """Everything that a PDS can do to an account, and some writing between."""
    await network.change_handle(people["renamed"], "renamed-now.test")
    await network.deactivate(people["leaving"])
    await network.deactivate(people["returning"])
    await network.take_down(people["banned"])
    await network.activate(people["away-before"])
    await network.create(people["away-before"], POST, record(POST, text="back"))
    await network.activate(people["returning"])
    await network.create(people["renamed"], POST, record(POST, text="under another name"))
    await network.delete_account(people["deleted"])


async def until_same(stack: RunningStack, network: RealNetwork, people: dict[str, Account]) -> None:
    """Wait until the table is what the PDS says; a status or a resync takes a few seconds."""
    async with open_database(stack) as database:
        found = ["nothing looked at"]
        deadline = time.monotonic() + 150
        while found and time.monotonic() < deadline:
            found = [line for one in people.items() for line in await differences(database, network, *one)]
            await asyncio.sleep(0.5)
        assert not found, (found, (await firehose(stack))["live"])


async def differences(database: asyncpg.Connection, network: RealNetwork, name: str, account: Account) -> list[str]:
    """What of an account is not as on the PDS."""
    status = STATUS[await network.repo_status(account.did)]
    repo = await database.fetchrow("SELECT status, handle, sync_state FROM repo WHERE did = $1", account.did)
    rows = await rows_of(database, account.did)
    if repo is None:
        return [] if status == "deleted" and not rows else [f"{name} is not known"]
    told = [] if repo["status"] == status else [f"{name} is {status}, in the table {repo['status']}"]
    if status == "active":
        expected = await listed(network, account)
        wrong = [key for key in expected.keys() | rows.keys() if expected.get(key) != rows.get(key)]
        told += [f"{name}: {len(wrong)} rows, such as {wrong[:3]}"] if wrong else []
        told += [] if repo["sync_state"] == "synchronized" else [f"{name} is {repo['sync_state']}"]
    elif status == "deleted":
        told += [f"{name} is deleted and has {len(rows)} rows"] if rows else []
    else:
        shown = await database.fetchval("SELECT count(*) FROM post WHERE did = $1", account.did)
        told += [f"{name} is {status} and {shown} posts show"] if shown else []
    return told
