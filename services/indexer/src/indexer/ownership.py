"""Which partitions this worker owns: each has one owner at a time, by a lock that Postgres keeps for a session.

WORKER_ID and WORKER_COUNT say which partitions a worker wants. Two workers that want the same one (a restart that
overlaps, a wrong setting) are told apart here: the second waits, is not ready, and says why. Correctness does not
rest on it (rows are locked); the order in which a repo's messages are written does.
"""

from __future__ import annotations

import asyncio
import logging

from headwater.backoff import backoff_seconds
from headwater.errors import TransientError
from headwater.health import Readiness
from indexer import metrics
from indexer.database import Database, translated
from indexer.statements import SQL

log = logging.getLogger("indexer.ownership")

_LOOK_SECONDS = 2.0
_ANSWER_SECONDS = 30.0
"""A server that has not answered within this is away, for all that readiness can say of it."""


class Ownership:
    """The worker's partitions. Conditions ``postgres`` and ``partitions`` of the readiness are set here."""

    def __init__(self, database: Database, wanted: tuple[int, ...], readiness: Readiness) -> None:
        self.wanted = wanted
        self._database = database
        self._readiness = readiness
        self._events = {partition: asyncio.Event() for partition in wanted}
        self._session: object = None

    def holds(self, partition: int) -> bool:
        """Whether this worker owns the partition now."""
        return self._events[partition].is_set()

    async def owns(self, partition: int) -> None:
        """Wait until this worker owns the partition."""
        await self._events[partition].wait()

    async def run(self) -> None:
        """Take the partitions, and notice when they are lost, until cancelled."""
        failures = 0
        while True:
            try:
                await self._look()
                failures = 0
            except TransientError as error:
                failures += 1
                self._lose()
                self._readiness.unmet("postgres", "Postgres does not answer")
                log.warning("partitions are not owned: %s", error)
            self._say()
            await asyncio.sleep(_LOOK_SECONDS if not failures else backoff_seconds(failures, cap=_LOOK_SECONDS))

    async def _look(self) -> None:
        connection = await self._database.connection()
        if connection is not self._session:
            self._lose()
            self._session = connection
        missing = [partition for partition in self.wanted if not self.holds(partition)]
        with translated():
            taken = await connection.fetch(SQL["take_partitions"], missing, timeout=_ANSWER_SECONDS)
        for row in taken:
            self._events[row["partition"]].set()
        self._readiness.met("postgres")

    def _lose(self) -> None:
        for event in self._events.values():
            event.clear()

    def _say(self) -> None:
        missing = [str(partition) for partition in self.wanted if not self.holds(partition)]
        metrics.PARTITIONS_OWNED.set(len(self.wanted) - len(missing))
        if missing:
            self._readiness.unmet("partitions", f"not owned (another worker owns them?): {', '.join(missing)}")
        else:
            self._readiness.met("partitions")
