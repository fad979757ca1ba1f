"""The comparison of the table with the world finds what is wrong, and nothing where all is well."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from indexer_rig import migrated
from oracle import assert_world, differences, until_world
from simulator import DEFAULT_NOW_US, Account, ExpectedRepo, World

DAY_US = 86_400_000_000
_INSERT = """
INSERT INTO record (did, collection, rkey, cid, rev, created_at, record) VALUES ($1, $2, $3, $4, 'r', now(), $5)
"""


@pytest.fixture
def world() -> Iterator[World]:
    with World(11) as world:
        for _ in range(3):
            world.add_account().seed_records(60)
        yield world


@pytest.fixture
async def table(database_url: str, world: World) -> AsyncIterator[asyncpg.Connection]:
    async with migrated(database_url) as connection:
        for account in world.accounts:
            await connection.execute(
                "INSERT INTO repo (did, handle, status) VALUES ($1, $2, 'active')", account.did, account.handle
            )
            await insert(connection, account)
        yield connection


async def insert(connection: asyncpg.Connection, account: Account) -> None:
    rows = account.expected().items()
    await connection.executemany(_INSERT, [(account.did, *key, row.cid, json.dumps(row.value)) for key, row in rows])


async def test_a_table_that_is_the_world_has_no_differences(
    database_url: str, world: World, table: asyncpg.Connection
) -> None:
    await assert_world(database_url, world.expected())
    await until_world(database_url, world.expected, 0)
    again = [ExpectedRepo.from_line(json.loads(json.dumps(repo.as_line()))) for repo in world.expected().values()]
    assert {repo.did: repo for repo in again} == world.expected()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM record WHERE did = $1 AND collection = 'app.bsky.actor.profile'", "1 rows missing"),
        ("UPDATE record SET rkey = 'other' WHERE did = $1 AND collection = 'app.bsky.actor.profile'", "surplus"),
        ("UPDATE record SET cid = 'other' WHERE did = $1 AND rkey = 'self'", "1 rows different"),
        ("UPDATE record SET record = '{}' WHERE did = $1 AND rkey = 'self'", "1 rows different"),
        ("UPDATE repo SET status = 'suspended' WHERE did = $1", "and suspended in the table"),
        ("UPDATE repo SET handle = 'other.test' WHERE did = $1", "and other.test in the table"),
        ("DELETE FROM repo WHERE did = $1", "no row in repo"),
        ("UPDATE record SET did = 'did:plc:stranger' WHERE did = $1", "not of this world"),
    ],
)
async def test_each_kind_of_difference_is_named(
    database_url: str, world: World, table: asyncpg.Connection, statement: str, said: str
) -> None:
    await table.execute(statement, world.accounts[1].did)
    with pytest.raises(AssertionError, match=said):
        await assert_world(database_url, world.expected())
    with pytest.raises(AssertionError, match=said):
        await until_world(database_url, world.expected, 0)


async def test_deleted_accounts_have_no_rows_and_hidden_ones_show_none(world: World, table: asyncpg.Connection) -> None:
    deleted, hidden, _ = world.accounts
    deleted.status, hidden.status = "deleted", "takendown"
    hidden.post("nobody has to know")
    found = "\n".join(await differences(table, world.expected()))
    assert f"{deleted.did} ({deleted.handle}, deleted): 60 rows surplus" in found
    assert "rows of hidden accounts show in the view post" in found
    assert f"{hidden.did} is takendown, and active in the table" in found
    await table.execute("DELETE FROM record WHERE did = $1", deleted.did)
    await table.execute("UPDATE repo SET status = 'deleted' WHERE did = $1", deleted.did)
    await table.execute("UPDATE repo SET status = 'takendown' WHERE did = $1", hidden.did)
    assert await differences(table, world.expected()) == []


async def test_what_is_older_than_the_cutoff_may_be_there_and_need_not(world: World, table: asyncpg.Connection) -> None:
    cutoff_us = DEFAULT_NOW_US - 365 * DAY_US
    account = world.accounts[0]
    recent = account.expected(cutoff_us)
    old = sorted(account.expected().keys() - recent.keys())
    assert old
    await table.execute("DELETE FROM record WHERE did = $1 AND collection = $2 AND rkey = $3", account.did, *old[0])
    assert await differences(table, world.expected(cutoff_us)) == []
    assert len(await differences(table, world.expected())) == 1
    await table.execute(
        "DELETE FROM record WHERE did = $1 AND collection = $2 AND rkey = $3", account.did, *min(recent)
    )
    assert len(await differences(table, world.expected(cutoff_us))) == 1
