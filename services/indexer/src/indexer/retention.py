"""Forgetting what is too old to matter, a little at a time."""

from __future__ import annotations

import asyncio
import logging

import asyncpg

from headwater.bus.jobs import first_job_id
from headwater.clock import DAY_US, now_us
from headwater.errors import TransientError
from indexer.database import Database, translated
from indexer.statements import SQL

log = logging.getLogger("indexer.retention")

_ROWS_AT_ONCE = 5_000
_ROUNDS = 200
_SECONDS_BETWEEN = 600.0


async def forget_old(database: Database, *, tombstone_days: float, job_days: float) -> int:
    """One bounded round: tombstones and ended jobs. Returns how many rows went. Raises TransientError."""
    connection = await database.connection()
    tombstones_us, jobs_us = (now_us() - int(days * DAY_US) for days in (tombstone_days, job_days))
    total = await _some_at_a_time(connection, "purge_tombstones", tombstones_us)
    return total + await _some_at_a_time(connection, "purge_jobs", jobs_us, first_job_id(jobs_us))


async def _some_at_a_time(connection: asyncpg.Connection, name: str, before_us: int, *further: str) -> int:
    total = 0
    for _ in range(_ROUNDS):
        with translated():
            status = await connection.execute(SQL[name], before_us, _ROWS_AT_ONCE, *further)
        gone = int(status.rpartition(" ")[2])
        total += gone
        if gone < _ROWS_AT_ONCE:
            break
    return total


async def keep_forgetting(database: Database, *, tombstone_days: float, job_days: float) -> None:
    """A round every ten minutes, until cancelled."""
    while True:
        try:
            if gone := await forget_old(database, tombstone_days=tombstone_days, job_days=job_days):
                log.info("forgot %d old tombstones and jobs", gone)
        except TransientError as error:
            log.warning("nothing forgotten: %s", error)
        await asyncio.sleep(_SECONDS_BETWEEN)
