"""When rows were committed, as Postgres notes it: to the microsecond, and without anybody looking meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import asyncpg

from bench.errors import VoidRunError
from e2e.running_stack import RunningStack

Key = tuple[str, str, str]
"""DID, collection and rkey."""

# A join keeps no order of its own: without the places, times of one row would be taken for those of another.
_COMMITTED = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(r.xmin))::float8 AS at
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS k (did, collection, rkey, place)
LEFT JOIN record AS r USING (did, collection, rkey)
ORDER BY k.place
"""
_ENDED = """
SELECT count(*) = cardinality($1::text[]) AS all_have,
       extract(epoch FROM max(pg_xact_commit_timestamp(job.xmin)))::float8 AS at
FROM unnest($1::text[]) AS asked (job_id) CROSS JOIN LATERAL (
    SELECT xmin, state FROM backfill_job AS j WHERE j.job_id = asked.job_id OFFSET 0
) AS job WHERE state IN ('done', 'failed', 'cancelled')
"""
# Each look costs Postgres something, the more the more jobs there are.
_LOOK_SECONDS = 0.1
_RESTART_SECONDS = 120.0
_PATIENCE_SECONDS = 600.0


async def remember_commits(running: RunningStack) -> asyncpg.Connection:
    """Have Postgres keep the time of every commit. It is started anew for that; a connection to it as it is then."""
    database = await asyncpg.connect(running.database_url)
    await database.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    await database.close()
    await asyncio.to_thread(running.kill, "postgres")
    deadline = time.monotonic() + _RESTART_SECONDS
    while True:
        try:
            database = await asyncpg.connect(running.database_url)
            break
        except (OSError, asyncpg.CannotConnectNowError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_LOOK_SECONDS)
    await asyncio.to_thread(running.wait_ready)
    return database


async def all_ended(database: asyncpg.Connection, job_ids: Sequence[str]) -> float:
    """Wait for the transactions in which these jobs ended; when the last was committed, in seconds since 1970.

    Raises VoidRunError when that takes too long.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (found := await database.fetchrow(_ENDED, job_ids))["all_have"]:
        if time.monotonic() > deadline:
            raise VoidRunError(f"not all of {len(job_ids)} jobs ended in {_PATIENCE_SECONDS:.0f} s")
        await asyncio.sleep(_LOOK_SECONDS)
    at: float = found["at"]
    return at


async def commit_times(database: asyncpg.Connection, keys: Sequence[Key]) -> list[float | None]:
    """When the row of each key was committed, in seconds since 1970, in the order of the keys; None: there is none."""
    columns = [list(column) for column in zip(*keys, strict=True)]
    return [row["at"] for row in await database.fetch(_COMMITTED, *columns)]


def delays(released: Sequence[float], committed: Sequence[float | None]) -> list[float]:
    """Seconds from each frame's release to the commit of its row, sorted; frames that left no row have none.

    Raises VoidRunError when a row was there before its frame.
    """
    took = [end - begin for begin, end in zip(released, committed, strict=True) if end is not None]
    if took and min(took) < 0:
        raise VoidRunError(f"a row was committed {-min(took):.3f} s before its frame was sent")
    return sorted(took)
