"""The whole benchmark, in its order: everything beside its yardstick, in one run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import nats

from bench import machine, postgres, yardsticks
from bench.admin import operator
from bench.commit_times import remember_commits
from bench.firehose import measure_live
from bench.frame_stages import measure_frames
from bench.imports import Bench, timed_import
from bench.load import frame_load
from bench.network import SimulatedNetwork, simulated_network
from bench.resources import Processes
from bench.results import Again, FrameStages, Full, Huge, Live, Race, Results
from bench.sizes import Sizes
from bench.stages import measure_stages
from e2e.running_stack import RunningStack, running_stack

_WARM_UP_RECORDS = 5_000
_CHANGED_SHARE = 0.01
_OF_MEMORY = ("repo-backfill", "indexer")
_SERVICES = ("api-gateway.0", "repo-backfill.0", "indexer.0", "firehose-backfill.0", "nats", "postgres")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Cast:
    """The accounts, by what they are for; none is imported twice as a new one."""

    warm_up: str
    one: list[str]
    many: list[list[str]]
    into_full: list[list[str]]
    into_empty: list[list[str]]
    huge: str
    beside: list[str]

    @classmethod
    async def make(cls, network: SimulatedNetwork, sizes: Sizes) -> Cast:
        """Make them all, with their CARs."""
        cast = cls(
            warm_up=await network.account(min(_WARM_UP_RECORDS, sizes.one)),
            one=[await network.account(sizes.one) for _ in range(sizes.rounds)],
            many=[await network.accounts(sizes.many, sizes.each) for _ in range(sizes.rounds)],
            into_full=[await network.accounts(sizes.many, sizes.each) for _ in range(sizes.rounds)],
            into_empty=[await network.accounts(sizes.many, sizes.each) for _ in range(sizes.rounds)],
            huge=await network.account(sizes.huge),
            beside=[await network.account(sizes.huge) for _ in range(sizes.rounds)],
        )
        groups = (cast.one, cast.beside, *cast.many, *cast.into_full, *cast.into_empty)
        await network.build_cars([cast.warm_up, cast.huge, *(did for group in groups for did in group)])
        return cast


async def measure(sizes: Sizes, cache: Path, say: Say) -> Results:
    """Run the benchmark. Raises VoidRunError when a run does not count."""
    async with AsyncExitStack() as stack:
        say("the network")
        network = await stack.enter_async_context(simulated_network(cache))
        cast = await Cast.make(network, sizes)
        say("the stack")
        load = await stack.enter_async_context(frame_load(cache, sizes.frames, sizes.authors))
        await network.register(load.file.accounts, load.relay_url)
        running = stack.enter_context(running_stack(network.plc_url, RELAY_URLS=load.relay_url))
        running.wait_ready()
        database = await remember_commits(running)
        stack.push_async_callback(database.close)
        admin = await stack.enter_async_context(operator(running))
        bench = Bench(network, admin, database, _processes(running, network.pid, load.pid))
        described = await machine.describe(database, await _nats_version(running))
        await timed_import(bench, [cast.warm_up])
        one, many, again = await _races(bench, cast, sizes, say)
        say(f"one repo of {sizes.huge:,} records")
        huge = await _huge(bench, cast)
        full = await _full(bench, running, cast, sizes, say)
        say("the stages alone")
        car = await network.car(cast.one[0])
        stages = await measure_stages(car, cast.one[0], sizes.one, sizes.rounds, running.database_url, running.nats_url)
        frames = await measure_frames(load.file, sizes.verified, sizes.rounds, running.nats_url)
        say("the firehose, live")
        live = await measure_live(bench, load, cast.beside, sizes)
        return Results(described, one, many, again, huge, full, stages, frames, live)


async def measure_firehose(sizes: Sizes, cache: Path, say: Say) -> tuple[FrameStages, Live]:
    """The firehose alone, in a network and a stack of its own. Raises VoidRunError when a run does not count."""
    async with AsyncExitStack() as stack:
        say("the network")
        network = await stack.enter_async_context(simulated_network(cache))
        load = await stack.enter_async_context(frame_load(cache, sizes.frames, sizes.authors))
        await network.register(load.file.accounts, load.relay_url)
        beside = [await network.account(sizes.huge) for _ in range(sizes.rounds)]
        await network.build_cars(beside)
        say("the stack")
        running = stack.enter_context(running_stack(network.plc_url, RELAY_URLS=load.relay_url))
        running.wait_ready()
        database = await remember_commits(running)
        admin = await stack.enter_async_context(operator(running))
        bench = Bench(network, admin, database, _processes(running, network.pid, load.pid))
        say("the frames alone")
        frames = await measure_frames(load.file, sizes.verified, sizes.rounds, running.nats_url)
        say("live")
        return frames, await measure_live(bench, load, beside, sizes)


async def _races(bench: Bench, cast: Cast, sizes: Sizes, say: Say) -> tuple[Race, Race, Again]:
    one = Race(f"one repo of {sizes.one:,}")
    many = Race(f"{sizes.many} repos of {sizes.each:,}")
    again = Again()
    for number in range(sizes.rounds):
        say(f"round {number + 1} of {sizes.rounds}")
        did = cast.one[number]
        await _race(bench, one, [did], sizes)
        await _again(bench, again, did)
        await _race(bench, many, cast.many[number], sizes)
        say(
            f"  {one.imports[-1].rate:,.0f} and {many.imports[-1].rate:,.0f} records/s,"
            f" COPY {one.copy_rates[-1]:,.0f} and {many.copy_rates[-1]:,.0f}"
        )
    return one, many, again


async def _race(bench: Bench, race: Race, dids: list[str], sizes: Sizes) -> None:
    await postgres.forget_everything(bench.database)
    race.imports.append(await timed_import(bench, dids))
    rows = await postgres.rows_of(bench.database, dids)
    race.copy_rates.append(await yardsticks.copy_rate(bench.database, rows))
    race.whole_copy_rates.append(await yardsticks.copy_rate(bench.database, rows, whole=True))
    race.insert_rates.append(await yardsticks.insert_rate(bench.database, rows[: sizes.singles]))


async def _again(bench: Bench, again: Again, did: str) -> None:
    await bench.network.forget_requests()
    again.unchanged.append(await timed_import(bench, [did]))
    again.requests.append(await bench.network.requests(did))
    await bench.network.change(did, _CHANGED_SHARE)
    await bench.network.build_cars([did])
    again.changed.append(await timed_import(bench, [did]))


async def _huge(bench: Bench, cast: Cast) -> Huge:
    await postgres.forget_everything(bench.database)
    done = await timed_import(bench, [cast.huge])
    return Huge(done, {name: bench.processes.peak_bytes(f"{name}.0") for name in _OF_MEMORY})


async def _full(bench: Bench, running: RunningStack, cast: Cast, sizes: Sizes, say: Say) -> Full:
    await postgres.forget_everything(bench.database)
    await timed_import(bench, cast.many[0])
    say(f"filling the table to {sizes.held:,} rows")
    began = time.monotonic()
    full = Full(rows=await postgres.fill(running.database_url, cast.many[0], sizes.held))
    say(f"  {full.rows:,} rows in {time.monotonic() - began:.0f} s")
    for dids in cast.into_full:
        full.imports.append(await timed_import(bench, dids))
        say(f"  {full.imports[-1].rate:,.0f} records/s")
    for dids in cast.into_empty:
        await postgres.forget_everything(bench.database)
        full.empty.append(await timed_import(bench, dids))
    return full


def _processes(running: RunningStack, network: int, relay: int) -> Processes:
    pids = {name: running.pid(name) for name in _SERVICES}
    others = {"simulator": network, "relay": relay, "benchmark": os.getpid()}
    return Processes(pids | others, with_children={"postgres"})


async def _nats_version(running: RunningStack) -> str:
    client = await nats.connect(running.nats_url)
    try:
        version = client.connected_server_version
        return f"{version.major}.{version.minor}.{version.patch}"
    finally:
        await client.close()
