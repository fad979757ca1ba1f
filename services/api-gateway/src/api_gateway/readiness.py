"""Whether the whole stack can take a request: NATS, and living, ready workers of every service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Final

import nats.errors

from api_gateway.bus import Bus
from api_gateway.problems import Problem
from headwater.bus.subjects import PARTITIONS, owned_partitions
from headwater.health import Readiness
from headwater.presence import Presence, WorkerPresence, living_workers

log = logging.getLogger("api_gateway.readiness")

SERVICE: Final = "api-gateway"
NEEDED: Final = ("indexer", "repo-backfill", "firehose-backfill")
_CHECK_SECONDS: Final = 1.0


def stack_readiness() -> Readiness:
    """The conditions under which the stack can take a request."""
    return Readiness("nats", *NEEDED)


def missing(workers: Iterable[WorkerPresence]) -> Mapping[str, str]:
    """For each needed service why it cannot do its part, empty when it can.

    One ready worker of each suffices, as they share one queue; of the indexer every partition needs its owner.
    """
    ready: dict[str, list[WorkerPresence]] = {service: [] for service in NEEDED}
    unready: dict[str, list[str]] = {service: [] for service in NEEDED}
    for worker in workers:
        if worker.ready and worker.service in ready:
            ready[worker.service].append(worker)
        elif worker.service in unready:
            unready[worker.service].append(_why(worker))
    found = {}
    for service in NEEDED:
        found[service] = "" if ready[service] else "; ".join(unready[service]) or "no worker lives"
    owned = {p for worker in ready["indexer"] for p in owned_partitions(worker.worker_id, worker.worker_count)}
    ownerless = sorted(set(range(PARTITIONS)) - owned)
    if ready["indexer"] and ownerless:
        found["indexer"] = f"partitions without a ready owner: {', '.join(map(str, ownerless))}"
    return found


def _why(worker: WorkerPresence) -> str:
    unmet = [f"{name}: {why}" for name, why in worker.conditions.items() if why != "ok"]
    return f"worker {worker.worker_id} is not ready ({', '.join(unmet) or 'it does not say why'})"


async def watch_stack(bus: Bus, readiness: Readiness, worker_id: int, worker_count: int) -> None:
    """Connect, then keep ``readiness`` true to what is there, and say that this gateway lives; until cancelled."""
    await bus.connect()
    async with Presence(bus.workers, SERVICE, worker_id, worker_count, readiness):
        while True:
            await _look(bus, readiness)
            await asyncio.sleep(_CHECK_SECONDS)


async def _look(bus: Bus, readiness: Readiness) -> None:
    try:
        await bus.mend()
        found = missing(await living_workers(bus.workers))
    except (nats.errors.Error, Problem) as error:
        readiness.unmet("nats", str(error) or type(error).__name__)
        return
    readiness.met("nats")
    for service, why in found.items():
        if why:
            readiness.unmet(service, why)
        else:
            readiness.met(service)
