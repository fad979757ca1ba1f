"""Repos and jobs out of the database, under lock, and back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import asyncpg
import msgspec

from headwater.errors import InvariantError
from indexer.state import Job, Repo, Track
from indexer.statements import SQL

_encoder = msgspec.json.Encoder()
_counts = msgspec.json.Decoder(dict[str, int])


async def lock_repos(
    connection: asyncpg.Connection, dids: Collection[str], track: Track = Track.ALL
) -> dict[str, Repo]:
    """The repos, each with its lock until the transaction ends; rows are made for new ones.

    Locks are taken in the order of the DIDs, so that transactions wait for one another and never in a circle.
    """
    wanted = sorted(set(dids))
    found = await connection.fetch(SQL["lock_repos"], wanted)
    if len(found) < len(wanted):
        known = {row["did"] for row in found}
        new = [did for did in wanted if did not in known]
        await connection.execute(SQL["insert_repos"], new, track is not Track.NONE)
        found = await connection.fetch(SQL["lock_repos"], wanted)
    if len(found) != len(wanted):
        raise InvariantError(f"{len(wanted)} repos asked for, {len(found)} locked")
    return {row["did"]: Repo(**row) for row in found}


async def lock_followed(connection: asyncpg.Connection, dids: Collection[str], track: Track) -> dict[str, Repo]:
    """As ``lock_repos``, without the repos whose live events are not followed, and without making rows for them."""
    if track is Track.ALL:
        return await lock_repos(connection, dids)
    found = await connection.fetch(SQL["lock_tracked_repos"], sorted(set(dids)))
    return {row["did"]: Repo(**row) for row in found}


async def save_repos(connection: asyncpg.Connection, repos: Iterable[Repo]) -> None:
    """Write back what was decided about locked repos."""
    await connection.execute(SQL["save_repos"], encoded(repos))


def encoded(repos: Iterable[Repo]) -> str:
    """Repos as ``save_repos`` takes them."""
    return _encoder.encode(list(repos)).decode()


async def load_jobs(
    connection: asyncpg.Connection, wanted: Mapping[str, str], holders: Collection[str]
) -> dict[str, Job]:
    """Jobs by id: ``wanted`` (id to DID, made where the table has none) and those that hold repos at the moment.

    Their repos are locked.
    """
    found = await connection.fetch(SQL["load_jobs"], list({*wanted, *holders}))
    jobs = {row["job_id"]: Job(**{**row, "rejected": _counts.decode(row["rejected"])}) for row in found}
    for job_id, did in wanted.items():
        if job_id not in jobs:
            jobs[job_id] = Job(job_id=job_id, did=did)
    return jobs


async def save_jobs(connection: asyncpg.Connection, jobs: Iterable[Job]) -> None:
    """Write back what was decided about jobs."""
    await connection.execute(SQL["save_jobs"], _encoder.encode(list(jobs)).decode())
