"""One timed import: from the first request to the transaction in which the last job was done."""

from __future__ import annotations

import time
from dataclasses import dataclass

import asyncpg

from bench.admin import Admin
from bench.commit_times import all_ended
from bench.errors import VoidRunError
from bench.network import SimulatedNetwork
from bench.postgres import record_counts, settle
from bench.resources import Processes
from bench.results import Import


@dataclass(frozen=True)
class Bench:
    """What a measured import needs: the network, the stack's gateway and database, and its processes."""

    network: SimulatedNetwork
    admin: Admin
    database: asyncpg.Connection
    processes: Processes


async def timed_import(bench: Bench, dids: list[str]) -> Import:
    """Import accounts, all requested at once. Raises VoidRunError when a row is missing or surplus."""
    expected = {did: await bench.network.record_count(did) for did in dids}
    await settle(bench.database)
    before = bench.processes.cpu_seconds()
    began = time.time()
    job_ids = await bench.admin.request_all(dids)
    seconds = await all_ended(bench.database, job_ids) - began
    cpu = bench.processes.cpu_seconds()
    for job_id in job_ids:
        await bench.admin.done(job_id)
    found = await record_counts(bench.database, dids)
    if found != expected:
        wrong = {did: (found.get(did, 0), expected[did]) for did in dids if found.get(did, 0) != expected[did]}
        raise VoidRunError(f"rows found and expected differ: {wrong}")
    spent = {name: cpu[name] - before.get(name, 0.0) for name in cpu}
    return Import(records=sum(expected.values()), seconds=seconds, cpu_seconds=spent)
