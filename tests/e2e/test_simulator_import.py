"""Accounts of the simulated network, through the whole stack, into Postgres: every row is the oracle's."""

from __future__ import annotations

from typing import Any, Literal

import asyncpg
import pytest

from e2e.gateway_client import GatewayClient, Job
from e2e.simulated import SimulatedWorld
from e2e.table import assert_same, checksum_of_others, last_backfill, rows_of
from headwater.clock import DAY_US
from simulator import Account, Write
from simulator.faults import GET_REPO
from simulator.tid import iso
from waiting import until

LATEST_COMMIT = "com.atproto.sync.getLatestCommit"


def cutoff_of(job: Job) -> int:
    """Where the scope of a job with days begins, in microseconds since 1970."""
    return int(job["requested_at_us"]) - int(job["days"]) * DAY_US


@pytest.mark.parametrize("order", ["tree", "pds", "shuffled"])
@pytest.mark.parametrize("curve", ["k256", "p256"])
async def test_every_row_is_as_it_was_written(
    world: SimulatedWorld,
    gateway: GatewayClient,
    database: asyncpg.Connection,
    curve: Literal["k256", "p256"],
    order: Literal["tree", "pds", "shuffled"],
) -> None:
    alice = world.add_account(curve=curve)
    alice.seed_records(1200)
    alice.seed_odd_records()
    alice.car_order = order
    job = await gateway.done(alice.did)
    expected = alice.expected()
    assert_same(await rows_of(database, alice.did), expected)
    assert (job["records_total"], job["records_published"], job["records_written"]) == (len(expected),) * 3
    assert (job["handle"], job["pds"], job["rev"]) == (alice.handle, alice.host.url, alice.repo.rev)
    assert job["rejected"] == {}


async def test_a_did_web_is_an_account_like_others(
    new_world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    web = new_world.add_account(method="web")
    web.seed_records(300)
    await new_world.start()
    await gateway.done(web.did)
    assert_same(await rows_of(database, web.did), web.expected())


async def test_a_repo_that_is_sent_in_chunks(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    alice.seed_records(300)
    alice.host.chunked = True
    await gateway.done(alice.did)
    assert_same(await rows_of(database, alice.did), alice.expected())


async def test_an_empty_repo_is_done(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    job = await gateway.done(alice.did)
    assert job["records_written"] == 0
    assert await rows_of(database, alice.did) == {}


async def test_days_bring_what_is_not_older(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    alice.seed_records(1500)
    alice.seed_odd_records()
    job = await gateway.done(alice.did, days=200)
    recent = alice.expected(cutoff_of(job))
    assert 0 < len(recent) < len(alice.expected())
    assert_same(await rows_of(database, alice.did), recent)
    assert job["records_written"] == len(recent)
    # More days bring the rest, and less of them take nothing away.
    job = await gateway.done(alice.did, days=500)
    assert_same(await rows_of(database, alice.did), alice.expected(cutoff_of(job)))
    await gateway.done(alice.did, days=0)
    assert_same(await rows_of(database, alice.did), alice.expected())
    await gateway.done(alice.did, days=10)
    assert_same(await rows_of(database, alice.did), alice.expected())


async def test_records_that_must_be_refused_leave_their_siblings_alone(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    alice.seed_records(200)
    alice.put_invalid("com.example.broken", "a-list", bytes.fromhex("8101"))
    alice.put_invalid("com.example.broken", "a-float", bytes.fromhex("a16161fb3ff8000000000000"))
    alice.put_invalid("com.example.broken", "no-cbor", b"\xff\x00")
    job = await gateway.done(alice.did)
    assert job["rejected"] == {"record_not_map": 1, "record_float": 1, "record_cbor": 1}
    assert_same(await rows_of(database, alice.did), alice.expected())


async def test_again_changes_nothing_and_fetches_nothing(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    alice.seed_records(500)
    first = await gateway.done(alice.did)
    before = await checksum_of_others(database, "did:plc:nobody")
    alice.host.traffic.requests.clear()
    again = await gateway.done(alice.did)
    assert (first["unchanged"], again["unchanged"]) == (False, True)
    assert (alice.host.count(LATEST_COMMIT, did=alice.did), alice.host.count(GET_REPO)) == (1, 0)
    assert await checksum_of_others(database, "did:plc:nobody") == before
    assert await last_backfill(database, alice.did) > int(first["requested_at_us"])


async def test_again_brings_what_has_changed(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    alice.seed_records(900)
    await gateway.done(alice.did)
    gone = change(alice)
    job = await gateway.done(alice.did)
    assert_same(await rows_of(database, alice.did), alice.expected())
    assert job["records_deleted"] == len(gone)
    alice.apply_writes(Write("delete", *key) for key in list(alice.expected()))
    await gateway.done(alice.did)
    assert await rows_of(database, alice.did) == {}


async def test_days_again_refresh_old_rows_too_and_bring_no_old_ones(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    alice.seed_records(900)
    job = await gateway.done(alice.did, days=300)
    known = alice.expected(cutoff_of(job)).keys()
    gone = set(change(alice))
    job = await gateway.done(alice.did, days=30)
    # An edited record dates from now. What was there stays there as it is now, what was older is still not there.
    recent = alice.expected(cutoff_of(job))
    expected = {key: row for key, row in alice.expected().items() if key in recent or key in known}
    assert known & gone
    assert len(recent) < len(expected) < len(alice.expected())
    assert_same(await rows_of(database, alice.did), expected)
    await gateway.done(alice.did)
    assert_same(await rows_of(database, alice.did), alice.expected())


async def test_what_is_held_whole_is_kept_whole(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    alice.seed_records(300)
    await gateway.done(alice.did)
    change(alice)
    alice.create("com.example.late", {"$type": "com.example.late", "createdAt": "2023-01-01T00:00:00Z"}, "old")
    await gateway.done(alice.did, days=1)
    assert_same(await rows_of(database, alice.did), alice.expected())


async def test_other_accounts_rows_are_not_touched(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice, bob = world.add_account(), world.add_account()
    for account in (alice, bob):
        account.seed_records(400)
        await gateway.done(account.did)
    change(alice)
    change(bob)
    before = await checksum_of_others(database, alice.did)
    assert before[0] >= 400
    await gateway.done(alice.did)
    await gateway.done(alice.did, days=20)
    assert await checksum_of_others(database, alice.did) == before


async def test_an_account_that_has_moved_is_found_at_its_new_host(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account(host=world.hosts[0])
    alice.seed_records(300)
    await gateway.done(alice.did)
    alice.migrate(world.hosts[1])
    change(alice)
    job = await gateway.done(alice.did)
    assert job["pds"] == world.hosts[1].url
    assert_same(await rows_of(database, alice.did), alice.expected())


async def test_a_rotated_key_is_looked_up_again(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    alice.seed_records(100)
    await gateway.done(alice.did)
    alice.rotate_key()
    change(alice)
    await gateway.done(alice.did)
    assert_same(await rows_of(database, alice.did), alice.expected())


async def test_the_typed_views_answer(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice, bob = world.add_account(), world.add_account()
    rkey = alice.post("hello\x00there", langs=["en"])
    subject = {"uri": f"at://{bob.did}/app.bsky.feed.post/3k2aaaaaaaaaa", "cid": "bafyreihdwdcefgh4dqkjv67uzcmw7"}
    made = {"createdAt": iso(world.clock.now_us)}
    alice.create("app.bsky.feed.like", {"$type": "app.bsky.feed.like", "subject": subject} | made)
    alice.create("app.bsky.graph.follow", {"$type": "app.bsky.graph.follow", "subject": bob.did} | made)
    profile = {"$type": "app.bsky.actor.profile", "displayName": "Alice", "description": 7}
    alice.create("app.bsky.actor.profile", profile, "self")
    await gateway.done(alice.did)

    async def rows(query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await database.fetch(query, alice.did)]

    async def is_hidden() -> bool:
        return not await rows("SELECT uri FROM post WHERE did = $1")

    uri = f"at://{alice.did}/app.bsky.feed.post/{rkey}"
    assert await rows("SELECT uri, text, langs FROM post WHERE did = $1") == [(uri, "hello\ufffdthere", ["en"])]
    assert await rows('SELECT subject FROM "like" WHERE did = $1') == [(subject["uri"],)]
    assert await rows("SELECT subject FROM follow WHERE did = $1") == [(bob.did,)]
    assert await rows("SELECT display_name, description FROM profile WHERE did = $1") == [("Alice", None)]
    # What an account that is not active wrote is kept, and not shown.
    alice.status = "deactivated"
    assert (await gateway.failed(alice.did))["reason"] == "deactivated"
    await until(is_hidden)  # the indexer hears of a job's failure after its owner does
    assert_same(await rows_of(database, alice.did), alice.expected())
    alice.status = "active"
    await gateway.done(alice.did)
    assert await rows("SELECT uri FROM post WHERE did = $1") == [(uri,)]


def change(account: Account) -> list[tuple[str, str]]:
    """Edit some records, old and new, delete some, write some; the keys that are gone."""
    account.change_records(0.1)
    keys = sorted(account.expected())
    gone = keys[5 :: max(1, len(keys) // 20)]
    account.apply_writes(Write("delete", *key) for key in gone)
    for number in range(5):
        account.post(f"new {number}")
    return gone


def without(rows: dict[tuple[str, str], Any], key: tuple[str, str]) -> dict[tuple[str, str], Any]:
    return {other: row for other, row in rows.items() if other != key}
