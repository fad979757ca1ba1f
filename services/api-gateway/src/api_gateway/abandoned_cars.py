"""CARs in the object store whose job is not there, or has ended, and parts of CARs that never came to be whole: left by
a process that died at the wrong moment."""

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
from headwater.bus.streams import OBJECTS_IMPORTS

log = logging.getLogger("api_gateway.imports")

_EVERY_SECONDS: Final = 600.0
_GRACE: Final = timedelta(hours=1)
_STREAM: Final = f"OBJ_{OBJECTS_IMPORTS}"
_CHUNKS: Final = f"$O.{OBJECTS_IMPORTS}.C."


async def sweep_abandoned(bus: Bus) -> None:
    """Remove such CARs now and then, until cancelled."""
    while True:
        try:
            await remove_abandoned(bus, datetime.now(UTC) - _GRACE)
        except (nats.errors.Error, Problem) as error:
            log.debug("no look at the imports: %s", error)
        await asyncio.sleep(_EVERY_SECONDS)


async def remove_abandoned(bus: Bus, before: datetime) -> int:
    """Remove the CARs, and parts of CARs, from before that moment without a job to come. Returns how many.

    Raises nats errors.
    """
    removed = 0
    # Looked for first: what has come in whole by then is in the list.
    chunked = await _chunked(bus)
    try:
        objects = await bus.imports.list(ignore_deletes=True)
    except NotFoundError:
        objects = []
    for item in objects:
        if not item.mtime or datetime.fromisoformat(item.mtime) >= before:
            continue
        job = await find(bus, item.name)
        if job is None or job.state.final:
            await bus.imports.delete(item.name)
            log.info("removed the CAR of job %s, which nobody will read", item.name)
            removed += 1
    for subject in chunked - {f"{_CHUNKS}{item.nuid}" for item in objects}:
        removed += await _remove_part(bus, subject, before)
    return removed


async def _chunked(bus: Bus) -> set[str]:
    """The subjects that chunks of CARs have, one for each CAR."""
    info = await bus.js.stream_info(_STREAM, subjects_filter=f"{_CHUNKS}>")
    return set(info.state.subjects or {})


async def _remove_part(bus: Bus, subject: str, before: datetime) -> bool:
    """Remove the chunks of a CAR that has no entry, unless the last of them is newer: then it is still coming in."""
    try:
        last = await bus.js.get_last_msg(_STREAM, subject)
    except NotFoundError:
        return False
    if last.time is None or last.time >= before:
        return False
    await bus.js.purge_stream(_STREAM, subject=subject)
    log.info("removed the part of a CAR that never came to be whole")
    return True
