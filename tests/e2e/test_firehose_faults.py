"""The whole stack on a relay that gets everything wrong, and on accounts that live through everything.

At the end every row is what the simulated network holds: what a refused, hidden or lying frame kept back has come by
another fetch of the repo, and nothing has come that is not there.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial

from e2e.running_stack import RunningStack, running_stack
from e2e.simulated import SimulatedPorts, SimulatedWorld
from e2e.table import open_database
from oracle import until_world
from simulator import Account
from simulator.spoils import SPOILS
from waiting import until

POST = "app.bsky.feed.post"
JUNK = ("malformed", "empty", "header_only", "no_fields", "unknown_type", "unknown_op", "text", "info", "error")


async def test_a_hostile_relay_and_the_lives_of_accounts_end_as_the_network_is() -> None:
    ports = SimulatedPorts.choose()
    async with SimulatedWorld(77, ports, hosts=4) as world, AsyncExitStack() as ends:
        wronged = {kind: world.add_account() for kind in (*sorted(SPOILS), "hide", "repeat", "swap")}
        living = [world.add_account() for _ in range(10)]
        running = running_stack(ports.plc_url, **ports.variables, RELAY_URLS=world.relay.url)
        stack = await asyncio.to_thread(running.__enter__)
        ends.push_async_exit(partial(asyncio.to_thread, running.__exit__))
        await _followed(world)
        for account in world.accounts:
            account.post("the first that is seen")
        await until_world(stack.database_url, world.expected, 150)

        for kind, account in wronged.items():
            _wrong(world, kind, account)
        for kind in JUNK:
            world.relay.stream.junk(kind)
        _live(world, living)
        for account in world.accounts:
            if account.status == "active":
                account.post("the last")
        await until_world(stack.database_url, world.expected, 150)
        await _until_identities(stack, *living[:4])


async def _until_identities(stack: RunningStack, impostor: Account, *others: Account) -> None:
    """PDS and handle are those of the present; the handle that belongs to another is not the impostor's."""
    wanted = {one.did: (one.host.url, one.handle) for one in others} | {impostor.did: (impostor.host.url, None)}
    async with open_database(stack) as database:
        for _ in range(200):
            rows = await database.fetch("SELECT did, pds, handle FROM repo WHERE did = ANY ($1)", list(wanted))
            found = {row["did"]: (row["pds"], row["handle"]) for row in rows}
            if found == wanted:
                return
            await asyncio.sleep(0.5)
    raise AssertionError({did: (found.get(did), one) for did, one in wanted.items() if found.get(did) != one})


async def _followed(world: SimulatedWorld) -> None:
    """Wait until the stack listens: what is told before is not its business."""
    await until(lambda: world.relay.subscriptions.connected)


def _wrong(world: SimulatedWorld, kind: str, account: Account) -> None:
    """Several commits, of which the relay tells one in this way."""
    kept, doomed = account.post("to be edited"), account.post("to be deleted")
    world.relay.stream.tamper(kind, account.did)
    account.post("told wrongly")
    account.update(POST, kept, {"$type": POST, "text": "edited", "createdAt": "2026-01-01T00:00:00.000Z"})
    account.delete(POST, doomed)


def _live(world: SimulatedWorld, accounts: list[Account]) -> None:
    """Everything that can happen to an account."""
    impostor, moved, rotated, renamed, deactivated, suspended, returned, takendown, deleted, tombstoned = accounts
    deactivated.status = "deactivated"
    suspended.status = "suspended"
    takendown.status = "takendown"
    returned.status = "deactivated"
    returned.post("written while away")
    returned.status = "active"
    deleted.status = "deleted"
    moved.migrate(world.hosts[(world.hosts.index(moved.host) + 1) % len(world.hosts)])
    rotated.rotate_key()
    renamed.rename("another.sim.test")
    impostor.rename(renamed.handle)
    tombstoned.tombstone()
