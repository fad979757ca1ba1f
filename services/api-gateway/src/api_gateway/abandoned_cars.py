"""CARs in the object store whose job is not there, or has ended: left by a process that died at the wrong moment."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Final

import nats.errors
from nats.js.errors import NotFoundError

from api_gateway.bus import Bus
from api_gateway.jobs import find
from api_gateway.problems import Problem

log = logging.getLogger("api_gateway.imports")

_EVERY_SECONDS: Final = 600.0
_GRACE: Final = timedelta(hours=1)


async def sweep_abandoned(bus: Bus) -> None:
    """Remove such CARs now and then, until cancelled."""
    while True:
        try:
            await remove_abandoned(bus, datetime.now(UTC) - _GRACE)
        except (nats.errors.Error, Problem) as error:
            log.debug("no look at the imports: %s", error)
        await asyncio.sleep(_EVERY_SECONDS)


async def remove_abandoned(bus: Bus, before: datetime) -> int:
    """Remove the CARs from before that moment without a job to come. Returns how many. Raises nats errors."""
    removed = 0
    try:
        objects = await bus.imports.list(ignore_deletes=True)
    except NotFoundError:
        return 0
    for item in objects:
        if not item.mtime or datetime.fromisoformat(item.mtime) >= before:
            continue
        job = await find(bus, item.name)
        if job is None or job.state.final:
            await bus.imports.delete(item.name)
            log.info("removed the CAR of job %s, which nobody will read", item.name)
            removed += 1
    return removed
