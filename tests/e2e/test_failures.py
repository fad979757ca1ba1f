"""What goes wrong at accounts, hosts and on the way: the typed reason, or a later try that brings all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from e2e.gateway_client import GatewayClient
from e2e.simulated import SimulatedWorld
from e2e.table import assert_same, rows_of
from headwater.clock import now_us
from simulator import (
    Account,
    Answer,
    Endless,
    Fault,
    FlipBit,
    Gate,
    GzipBomb,
    Redirect,
    Reset,
    Slow,
    Truncate,
)
from simulator.faults import GET_REPO


def _without(account: Account, part: str) -> None:
    """Leave a part of the DID document out."""
    document = account.document()
    document[part] = []
    account._registry.register(account.did, document)


def _status(status: Any) -> Callable[[Account], None]:
    def change(account: Account) -> None:
        account.status = status

    return change


def _faulty(fault: Callable[[Account], Fault]) -> Callable[[Account], None]:
    def change(account: Account) -> None:
        account.fault(fault(account))

    return change


# What happens to the account or to the answers about it, and what the job says then.
ENDS = {
    "deactivated": _status("deactivated"),
    "suspended": _status("suspended"),
    "taken_down": _status("takendown"),
    "not_found": _status("deleted"),
    "no_pds": lambda account: _without(account, "service"),
    "no_key": lambda account: _without(account, "verificationMethod"),
    "bad_signature": lambda account: account.rotate_key(resign=False),
    "block_hash": _faulty(lambda _: FlipBit(at=-10)),
    "host_forbidden": _faulty(lambda _: Redirect(location="http://169.254.169.254/latest/meta-data")),
    "refused_by_host": _faulty(lambda _: Answer(status=401, body=b'{"error": "AuthMissing"}')),
    "car_header": _faulty(lambda _: Answer(body=b"<!doctype html>" + b" " * 99, content_type="text/html")),
    "car_too_large": _faulty(lambda _: Endless()),
}


@pytest.mark.parametrize("reason", ENDS)
async def test_a_job_fails_with_its_reason(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection, reason: str
) -> None:
    alice = world.add_account()
    alice.seed_records(100)
    ENDS[reason](alice)
    job = await gateway.failed(alice.did)
    assert job["reason"] == reason
    assert await rows_of(database, alice.did) == {}
    settings = await database.fetchval("SELECT last_backfill_at FROM repo WHERE did = $1", alice.did)
    assert settings is None


async def test_a_forged_commit_is_refused(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    alice.seed_records(50)
    alice.fault(Answer(body=alice.car_bytes(key=alice.new_key()), content_type="application/vnd.ipld.car"))
    assert (await gateway.failed(alice.did))["reason"] == "bad_signature"
    assert await rows_of(database, alice.did) == {}


async def test_another_accounts_repo_is_refused(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice, bob = world.add_account(), world.add_account()
    bob.seed_records(50)
    alice.fault(Answer(body=bob.car_bytes(), content_type="application/vnd.ipld.car"))
    assert (await gateway.failed(alice.did))["reason"] == "commit_did"
    assert await rows_of(database, bob.did) == {}


async def test_a_bomb_is_refused_early(world: SimulatedWorld, gateway: GatewayClient) -> None:
    alice = world.add_account()
    alice.fault(GzipBomb(size=256 << 20))
    job = await gateway.failed(alice.did)
    assert job["reason"] in {"car_header", "car_section", "car_too_large", "response_malformed"}
    assert job["bytes_fetched"] < 80 << 20


@pytest.mark.parametrize(
    ("actor", "status", "reason"),
    [
        ("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", 404, "unresolvable"),
        ("nobody.sim.test", 404, "unresolvable"),
        ("did:example:method", 404, "unresolvable"),
        ("not an actor", 422, "syntax"),
    ],
)
async def test_nobody_has_no_job(
    world: SimulatedWorld, gateway: GatewayClient, actor: str, status: int, reason: str
) -> None:
    assert world.plc.documents == {}
    answer = await gateway.ask(actor)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)


async def test_a_deleted_account_has_no_job(world: SimulatedWorld, gateway: GatewayClient) -> None:
    alice = world.add_account()
    alice.tombstone()
    answer = await gateway.ask(alice.did)
    assert (answer.status_code, answer.json()["reason"]) == (404, "account_deleted")


async def test_a_handle_that_its_account_does_not_claim(world: SimulatedWorld, gateway: GatewayClient) -> None:
    alice = world.add_account()
    document = alice.document() | {"alsoKnownAs": ["at://someone.else.test"]}
    world.plc.register(alice.did, document)
    answer = await gateway.ask(alice.handle)
    assert (answer.status_code, answer.json()["reason"]) == (422, "handle_mismatch")


TROUBLES: dict[str, Callable[[], Fault]] = {
    "503": lambda: Answer(status=503, times=2),
    "500 in HTML": lambda: Answer(status=500, body=b"<h1>oops</h1>", content_type="text/html"),
    "429 with Retry-After": lambda: Answer(status=429, headers={"Retry-After": "1"}),
    "429 without": lambda: Answer(status=429),
    "reset before the body": lambda: Reset(at=0),
    "reset in mid-CAR": lambda: Reset(at=40_000),
    "cut in mid-CAR": lambda: Truncate(at=40_000),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_trouble_that_passes_is_waited_out(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection, trouble: str
) -> None:
    alice = world.add_account()
    alice.seed_records(400)
    fault = alice.fault(TROUBLES[trouble]())
    job_id = await gateway.begin(alice.did)
    waiting = await gateway.until(job_id, "queued", "done")
    job = await gateway.until(job_id, "done")
    assert_same(await rows_of(database, alice.did), alice.expected())
    assert job["attempt"] > 1
    assert fault.times == 0
    assert (job["reason"], job["next_try_at_us"]) == (None, None)
    assert waiting["state"] == "done" or waiting["next_try_at_us"] is None or waiting["reason"] == "unreachable"


async def test_a_job_says_when_its_next_try_is(world: SimulatedWorld, gateway: GatewayClient) -> None:
    alice = world.add_account()
    alice.seed_records(20)
    alice.fault(Answer(status=429, headers={"Retry-After": "3"}))
    before = now_us()
    job_id = await gateway.begin(alice.did)
    waits = [job async for job in gateway.events(job_id) if job["next_try_at_us"] is not None]
    assert waits
    assert (waits[0]["state"], waits[0]["reason"]) == ("queued", "unreachable")
    assert waits[0]["next_try_at_us"] - before >= 3_000_000
    assert (await gateway.job(job_id))["state"] == "done"


async def test_a_host_that_stays_away_is_given_up(world: SimulatedWorld, gateway: GatewayClient) -> None:
    alice = world.add_account(host=world.hosts[0])
    await world.hosts[0].stop()
    job = await gateway.failed(alice.did)
    assert job["reason"] == "unreachable"
    # Once it is back, the same can be asked again.
    await world.hosts[0].start()
    answer = await gateway.post(f"jobs/{job['job_id']}/retry")
    assert answer.status_code == 202


async def test_trouble_at_one_host_is_none_at_another(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    bad, good = world.hosts
    stuck = [world.add_account(host=bad) for _ in range(12)]
    for number, account in enumerate(stuck):
        account.seed_records(50)
        fault: Fault = Gate() if number % 3 == 0 else Slow(bytes_per_s=100) if number % 3 == 1 else Answer(status=503)
        fault.times = None
        account.fault(fault)
    jobs = [await gateway.begin(account.did) for account in stuck]
    # Those that the host refuses again and again may end by themselves.
    waiting = [job_id for number, job_id in enumerate(jobs) if number % 3 < 2]
    others = [world.add_account(host=good) for _ in range(12)]
    for account in others:
        account.seed_records(50)
    await gateway.all_ended([await gateway.begin(account.did) for account in others])
    for account in others:
        assert_same(await rows_of(database, account.did), account.expected())
    assert {(await gateway.job(job_id))["state"] for job_id in waiting} <= {"queued", "resolving", "fetching"}
    for job_id in jobs:
        assert (await gateway.post(f"jobs/{job_id}/cancel")).status_code == 202 or job_id not in waiting
    assert {job["state"] for job in await gateway.all_ended(waiting)} == {"cancelled"}
    assert {job["state"] for job in await gateway.all_ended(jobs)} <= {"cancelled", "failed"}


async def test_a_fault_of_one_account_is_none_of_its_neighbours(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    host = world.hosts[0]
    alice, *neighbours = [world.add_account(host=host) for _ in range(6)]
    for account in (alice, *neighbours):
        account.seed_records(50)
    alice.fault(FlipBit(at=-10))
    job_ids = [await gateway.begin(account.did) for account in (alice, *neighbours)]
    jobs = await gateway.all_ended(job_ids)
    assert [job["state"] for job in jobs] == ["failed"] + ["done"] * 5
    assert host.count(GET_REPO, did=alice.did) == 1
    for account in neighbours:
        assert_same(await rows_of(database, account.did), account.expected())


async def test_a_stale_host_takes_nothing_back(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    alice.seed_records(50)
    old = alice.car_bytes()
    alice.post("newer")
    await gateway.done(alice.did)
    alice.post("newest")
    fault = alice.fault(Answer(body=old, content_type="application/vnd.ipld.car", times=1))
    job_id = await gateway.begin(alice.did)
    await gateway.until(job_id, "done")
    assert fault.times == 0
    assert_same(await rows_of(database, alice.did), alice.expected())


async def test_cancel_ends_a_job_that_waits(world: SimulatedWorld, gateway: GatewayClient) -> None:
    alice = world.add_account()
    alice.seed_records(20)
    alice.fault(Answer(status=429, headers={"Retry-After": "600"}))
    job_id = await gateway.begin(alice.did)
    async with asyncio.timeout(60):
        while (await gateway.job(job_id))["next_try_at_us"] is None:
            await asyncio.sleep(0.1)
    assert (await gateway.post(f"jobs/{job_id}/cancel")).status_code == 202
    await gateway.until(job_id, "cancelled")
