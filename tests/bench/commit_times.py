"""When rows were committed, as Postgres notes it (track_commit_timestamp has to be on)."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from bench.errors import VoidRunError

Key = tuple[str, str, str]
"""DID, collection and rkey."""

# A join keeps no order of its own: without the places, times of one row would be taken for those of another.
_COMMITTED = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(r.xmin))::float8 AS at
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS k (did, collection, rkey, place)
LEFT JOIN record AS r USING (did, collection, rkey)
ORDER BY k.place
"""
_ENDED = "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM backfill_job WHERE job_id = $1"


async def commit_times(database: asyncpg.Connection, keys: Sequence[Key]) -> list[float | None]:
    """When the row of each key was committed, in seconds since 1970, in the order of the keys; None: there is none."""
    columns = [list(column) for column in zip(*keys, strict=True)]
    return [row["at"] for row in await database.fetch(_COMMITTED, *columns)]


async def ended_at(database: asyncpg.Connection, job_id: str) -> float:
    """When the transaction was committed that ended a job, in seconds since 1970."""
    at: float = await database.fetchval(_ENDED, job_id)
    return at


def delays(released: Sequence[float], committed: Sequence[float | None]) -> list[float]:
    """Seconds from each frame's release to the commit of its row, sorted; frames that left no row have none.

    Raises VoidRunError when a row was there before its frame.
    """
    took = [end - begin for begin, end in zip(released, committed, strict=True) if end is not None]
    if took and min(took) < 0:
        raise VoidRunError(f"a row was committed {-min(took):.3f} s before its frame was sent")
    return sorted(took)
