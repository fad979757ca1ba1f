"""The ``headwater`` command against the running stack, as scripts use it: exit codes, JSON, files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg

from e2e import command
from e2e.gateway_client import GatewayClient
from e2e.running_stack import RunningStack
from e2e.simulated import SimulatedWorld
from e2e.table import assert_same, rows_of
from headwater_local.services import SERVICES
from simulator import Gate


async def test_backfill_by_handle(world: SimulatedWorld, stack: RunningStack, database: asyncpg.Connection) -> None:
    alice = world.add_account()
    alice.seed_records(500)
    done = await command.run(stack.home, "backfill", f"@{alice.handle}", "--json")
    assert (done.code, done.document["state"]) == (0, "done"), done
    assert (done.document["did"], done.document["handle"]) == (alice.did, alice.handle)
    assert_same(await rows_of(database, alice.did), alice.expected())


async def test_backfill_of_some_days_for_people(
    world: SimulatedWorld, stack: RunningStack, database: asyncpg.Connection
) -> None:
    alice = world.add_account()
    alice.seed_records(500)
    done = await command.run(stack.home, "backfill", alice.did, "--days", "100")
    assert (done.code, done.out) == (0, ""), done
    written = len(await rows_of(database, alice.did))
    assert 0 < written < 500
    assert f"{written:,} records written" in done.err
    assert alice.handle in done.err


async def test_backfill_that_fails(world: SimulatedWorld, stack: RunningStack) -> None:
    alice = world.add_account()
    alice.status = "deactivated"
    failed = await command.run(stack.home, "backfill", alice.did, "--json")
    assert (failed.code, failed.document["state"], failed.document["reason"]) == (1, "failed", "deactivated")
    for_people = await command.run(stack.home, "backfill", alice.did)
    assert for_people.code == 1
    assert "deactivated" in for_people.err
    nobody = await command.run(stack.home, "backfill", "nobody.sim.test")
    assert (nobody.code, nobody.out) == (1, "")
    assert "nobody.sim.test" in nobody.err


async def test_ctrl_c_leaves_the_job_running(
    world: SimulatedWorld, stack: RunningStack, gateway: GatewayClient
) -> None:
    alice = world.add_account()
    alice.seed_records(100)
    gate = alice.fault(Gate(at=5000))
    following = await command.Command.start(stack.home, "backfill", alice.did)
    await asyncio.wait_for(gate.reached.wait(), 60)
    # A second one finds the job and follows it, too.
    second = await command.Command.start(stack.home, "backfill", alice.did, "--json")
    assert "is running already" in await second.says()
    following.interrupt()
    interrupted = await following.finish()
    assert interrupted.code == 130
    gate.open()
    done = await second.finish()
    assert (done.code, done.document["state"]) == (0, "done"), done
    assert f"headwater cancel {done.document['job_id']}" in interrupted.err


async def test_dead_letters(world: SimulatedWorld, stack: RunningStack) -> None:
    alice = world.add_account()
    alice.put_invalid("app.bsky.feed.post", "bad", bytes.fromhex("a16178fb3ff8000000000000"))  # {"x": 1.5}
    await command.run(stack.home, "backfill", alice.did, "--json")

    async def mine() -> list[int]:
        listed = await command.run(stack.home, "dead-letters", "list", "--kind", "record", "--limit", "200", "--json")
        assert listed.code == 0, listed
        return [letter["id"] for letter in listed.document["letters"] if letter["did"] == alice.did]

    [letter] = await mine()
    shown = await command.run(stack.home, "dead-letters", "show", str(letter))
    assert "reason: record_float" in shown.out
    assert '"x": 1.5' in shown.out
    retried = await command.run(stack.home, "dead-letters", "retry", str(letter), "--json")
    assert (retried.code, retried.document["way"]) == (0, "fetch_anew")
    for _ in range(300):
        if again := [number for number in await mine() if number != letter]:
            break
    assert letter not in await mine()
    assert (await command.run(stack.home, "dead-letters", "drop", str(again[0]))).code == 0
    assert await mine() == []
    gone = await command.run(stack.home, "dead-letters", "drop", str(letter))
    assert (gone.code, "no such dead letter" in gone.err) == (1, True)
    for_people = await command.run(stack.home, "dead-letters", "list")
    assert for_people.code == 0, for_people


async def test_cancel(world: SimulatedWorld, stack: RunningStack, gateway: GatewayClient) -> None:
    alice = world.add_account()
    alice.seed_records(100)
    gate = alice.fault(Gate(at=5000))
    following = await command.Command.start(stack.home, "backfill", alice.did, "--json")
    await asyncio.wait_for(gate.reached.wait(), 60)
    job_id = (await gateway.ask(alice.did)).json()["job_id"]
    assert (await command.run(stack.home, "cancel", job_id)).code == 0
    ended = await following.finish()
    assert (ended.code, ended.document["state"]) == (1, "cancelled")


async def test_import_of_a_file(
    world: SimulatedWorld, stack: RunningStack, database: asyncpg.Connection, tmp_path: Path
) -> None:
    alice = world.add_account()
    alice.seed_records(500)
    file = tmp_path / "export.car"
    file.write_bytes(alice.car_bytes(order="pds"))
    done = await command.run(stack.home, "import", str(file), "--json")
    assert (done.code, done.document["state"]) == (0, "done"), done
    assert alice.host.count("getRepo") == 0
    assert_same(await rows_of(database, alice.did), alice.expected())
    again = await command.run(stack.home, "import", str(file), "--json")
    assert (again.code, again.document["unchanged"]) == (0, True)


async def test_import_of_an_account_that_nobody_resolves(
    world: SimulatedWorld, stack: RunningStack, database: asyncpg.Connection, tmp_path: Path
) -> None:
    alice, mallory = world.add_account(), world.add_account()
    alice.seed_records(50)
    file = tmp_path / "export.car"
    file.write_bytes(alice.car_bytes())
    del world.plc.documents[alice.did]
    unknown = await command.run(stack.home, "import", str(file), "--json")
    assert (unknown.code, unknown.document["reason"]) == (1, "unresolvable")
    wrong = await command.run(stack.home, "import", str(file), "--did-key", mallory.key.did_key, "--json")
    assert (wrong.code, wrong.document["reason"]) == (1, "bad_signature")
    assert await rows_of(database, alice.did) == {}
    right = await command.run(stack.home, "import", str(file), "--did-key", alice.key.did_key, "--json")
    assert (right.code, right.document["state"]) == (0, "done")
    assert_same(await rows_of(database, alice.did), alice.expected())


async def test_import_of_what_is_no_repo(stack: RunningStack, tmp_path: Path) -> None:
    file = tmp_path / "holiday.jpg"
    file.write_bytes(b"\xff\xd8\xff\xe0" * 100)
    refused = await command.run(stack.home, "import", str(file))
    assert (refused.code, refused.out) == (1, "")
    assert "holiday.jpg" in refused.err
    assert (await command.run(stack.home, "import", str(tmp_path / "nowhere.car"))).code == 1


async def told(stack: RunningStack) -> dict[str, Any]:
    """What ``headwater status`` says to scripts."""
    said = await command.run(stack.home, "status", "--json")
    assert said.code == 0
    return said.document


def ready_services(status: dict[str, Any]) -> set[str]:
    return {worker["service"] for worker in status["workers"] if worker["ready"]}


async def test_status(world: SimulatedWorld, stack: RunningStack, gateway: GatewayClient) -> None:
    alice = world.add_account()
    alice.seed_records(50)
    await gateway.done(alice.did)
    async with asyncio.timeout(60):
        # One that has not spoken for some seconds is missing for a moment.
        while ready_services(status := await told(stack)) != set(SERVICES):
            await asyncio.sleep(0.5)
    assert {stream["stream"] for stream in status["streams"]} >= {"RECORDS_LIVE", "RECORDS_BACKFILL", "REQUESTS"}
    assert {(lane["lane"], lane["partition"]) for lane in status["lanes"]} == {
        (lane, partition) for lane in ("live", "replay", "backfill") for partition in range(16)
    }
    assert status["jobs"]["done"] >= 1
    for_people = await command.run(stack.home, "status")
    assert for_people.code == 0
    assert "repo-backfill" in for_people.out


async def test_db_url(stack: RunningStack) -> None:
    said = await command.run(stack.home, "db", "url")
    assert said.code == 0
    connection = await asyncpg.connect(said.out.strip())
    try:
        assert await connection.fetchval("SELECT count(*) FROM record WHERE did = 'did:plc:nobody'") == 0
    finally:
        await connection.close()


async def test_wrong_usage_is_said(stack: RunningStack) -> None:
    assert (await command.run(stack.home, "backfill", "alice.test", "--days", "-1")).code == 2
    assert (await command.run(stack.home, "backfill")).code == 2
