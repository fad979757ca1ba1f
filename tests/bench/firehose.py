"""The live firehose end to end: from frames leaving the relay to their rows being committed in Postgres."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import asyncpg

from bench.commit_times import Key, all_ended, commit_times, delays
from bench.errors import VoidRunError
from bench.imports import Bench
from bench.load import Load, Release
from bench.postgres import forget_everything
from bench.resources import Processes
from bench.results import Import, Latency, Live, LiveRun
from bench.sizes import Sizes
from headwater.frame_reader import parse_frame
from headwater.frames import CommitFrame

# Counting rows costs Postgres something; when the last one came is read from its commit afterwards.
_LOOK_SECONDS = 0.5
_SOON_SECONDS = 0.02
# Of the frames that are to be sent beside an import so many must be on their way before it ends.
_SHARE_BESIDE = 0.5
_PATIENCE_SECONDS = 120.0
_COUNT = "SELECT count(*) FROM record WHERE did = ANY ($1)"
_LAST = "SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin)))::float8 FROM record WHERE did = ANY ($1)"
_HAS_BEGUN = "SELECT EXISTS (SELECT FROM record WHERE did = $1)"


async def measure_live(bench: Bench, load: Load, imported: Sequence[str], sizes: Sizes) -> Live:
    """All of it, on an empty table; ``imported`` are the accounts whose imports run beside frames, one each round."""
    database = bench.database
    await forget_everything(database)
    await connected(load)
    live = Live()
    for _ in range(sizes.rounds):
        live.runs.append(await timed_frames(load, database, bench.processes, sizes.burst))
    # First all that is measured alone: what an import leaves to do for Postgres would count against it.
    for _ in imported:
        live.alone.append(await latency(load, database, sizes.paced, sizes.pace))
    for did in imported:
        done, beside = await latency_beside_import(bench, load, did, sizes)
        live.imports.append(done)
        live.beside.append(beside)
    return live


async def connected(load: Load) -> None:
    """Wait until the firehose is followed. Raises VoidRunError."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not await load.has_consumer():
        if time.monotonic() > deadline:
            raise VoidRunError("nobody follows the relay")
        await asyncio.sleep(_LOOK_SECONDS)


async def timed_frames(load: Load, database: asyncpg.Connection, processes: Processes, count: int) -> LiveRun:
    """Release frames all at once, and see when the last of their rows was committed. Raises VoidRunError."""
    before = processes.cpu_seconds()
    released = await load.release(count)
    ended = await _all_written(load, database, released)
    cpu = processes.cpu_seconds()
    return LiveRun(count, ended - released.at, {name: cpu[name] - before.get(name, 0.0) for name in cpu})


async def latency(load: Load, database: asyncpg.Connection, count: int, rate: float) -> Latency:
    """Release frames at a rate, and find for each that left a row how long its commit took. Raises VoidRunError."""
    released = await load.release(count, rate)
    await _all_written(load, database, released)
    return await _latency(load, database, released)


async def latency_beside_import(bench: Bench, load: Load, imported: str, sizes: Sizes) -> tuple[Import, Latency]:
    """The same while an import writes rows. Raises VoidRunError when it was not at it for long enough.

    Only frames that left while it ran are told of.
    """
    database = bench.database
    records = await bench.network.record_count(imported)
    requested = time.time()
    (job_id,) = await bench.admin.request_all([imported])
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not await database.fetchval(_HAS_BEGUN, imported):
        if time.monotonic() > deadline:
            raise VoidRunError("the import does not begin")
        await asyncio.sleep(_SOON_SECONDS)
    released = await load.release(sizes.paced, sizes.pace)
    await _all_written(load, database, released)
    ended = await all_ended(database, [job_id])
    await bench.admin.done(job_id)
    beside = await _latency(load, database, released, until=ended)
    return Import(records, ended - requested), beside


async def _latency(load: Load, database: asyncpg.Connection, released: Release, until: float | None = None) -> Latency:
    places, keys = zip(*_created(load, released), strict=True)
    due = [released.due(place) for place in places]
    meant = len(due) if until is None else bisect_right(due, until)
    if meant < len(due) * _SHARE_BESIDE:
        raise VoidRunError(f"the import ended after {meant} of {len(due)} frames: it has to be larger")
    times = await commit_times(database, keys[:meant])
    return Latency(released.rate or 0.0, delays(due[:meant], times))


def _created(load: Load, released: Release) -> Iterator[tuple[int, Key]]:
    """Each frame's place, and the row of its first operation where that is a new record."""
    for place in range(released.first, released.end):
        frame = parse_frame(load.file.message(place))
        if isinstance(frame, CommitFrame) and frame.ops[0].action == "create":
            yield place, (frame.did, frame.ops[0].collection, frame.ops[0].rkey)


async def _all_written(load: Load, database: asyncpg.Connection, released: Release) -> float:
    """Wait until the table has every row of the frames so far; when the last was committed, in seconds since 1970."""
    # Not before the last frame has left: counting costs Postgres what the frames are to be written with.
    await asyncio.sleep(released.due(released.end) - time.time())
    dids = [one["did"] for one in load.file.accounts]
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := await database.fetchval(_COUNT, dids)) != released.rows:
        if time.monotonic() > deadline:
            raise VoidRunError(f"{found} rows of the firehose's accounts, not {released.rows}")
        await asyncio.sleep(_LOOK_SECONDS)
    ended: float = await database.fetchval(_LAST, dids)
    return ended
