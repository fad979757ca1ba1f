"""Asking repo-backfill for the repos that are out of step with the firehose.

What is asked for is noted first, with the time of the next try, and published then: a crash in between costs that
wait, and a host that breaks its chain for ever is asked ever more rarely. A bounded number waits on the bus: thousands
of repos may fall out of step at once, and those that find no room there stay due in the table.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

import asyncpg
import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError

from headwater.bus.firehose import FirehosePlan, PieceState
from headwater.bus.firehose_store import FirehoseStore
from headwater.bus.jobs import BackfillRequest, system_request
from headwater.bus.requests_waiting import requests_waiting
from headwater.bus.streams import STREAM_REPLAY, STREAM_REQUESTS, subject_is_taken
from headwater.bus.subjects import RequestLane, request_subject
from headwater.clock import now_us
from headwater.errors import TransientError
from indexer import metrics
from indexer.database import Database, translated
from indexer.state import kept_from
from indexer.statements import SQL
from indexer.sync_rules import RESYNC_SECONDS

log = logging.getLogger("indexer.resync")

MOST_WAITING: Final = 3_000
"""Resyncs that may wait for repo-backfill; with more none is filed."""
_AT_ONCE: Final = 200
_SECONDS_BETWEEN = 2.0
_AGAIN_US = 10_000_000
_SECONDS_BETWEEN_COUNTS = 30.0
_UNFINISHED = (PieceState.WAITING, PieceState.RUNNING, PieceState.PAUSED)


class Resyncs:
    """Files the resyncs that are due, while fewer than ``most_waiting`` wait.

    ``firehose`` tells what history is wanted, and how far the replay is.
    """

    def __init__(
        self, database: Database, js: JetStreamContext, firehose: FirehoseStore, most_waiting: int = MOST_WAITING
    ) -> None:
        self._database = database
        self._js = js
        self._firehose = firehose
        self._most_waiting = most_waiting
        self._count_at = 0.0

    async def run(self) -> None:
        """File them until cancelled."""
        while True:
            more = False
            try:
                more = await self.file_due() == _AT_ONCE
            except TransientError as error:
                log.warning("no resyncs filed: %s", error)
            if not more:
                await asyncio.sleep(_SECONDS_BETWEEN)

    async def file_due(self) -> int:
        """One bounded round; returns how many due repos it took. Raises TransientError."""
        replaying, plan = await self._replay_is_under_way(), await self._plan()
        room = min(_AT_ONCE, self._most_waiting - await self._waiting())
        connection = await self._database.connection()
        now = now_us()
        with translated():
            if time.monotonic() >= self._count_at:
                # Which may be millions; a gauge is not worth counting them every time.
                metrics.DESYNCHRONIZED.set(await connection.fetchval(SQL["count_desynchronized"]))
                self._count_at = time.monotonic() + _SECONDS_BETWEEN_COUNTS
            if room <= 0:
                return 0
            due = await connection.fetch(SQL["take_due_resyncs"], now, room, list(RESYNC_SECONDS), replaying)
        filed = await asyncio.gather(*(self._file(row, plan, now) for row in due))
        if failed := [row["did"] for row, went in zip(due, filed, strict=True) if not went]:
            with translated():
                await connection.execute(SQL["postpone_resyncs"], failed, now + _AGAIN_US)
        return len(due)

    async def _file(self, row: asyncpg.Record, plan: FirehosePlan | None, now: int) -> bool:
        """Ask for one repo; whether it was asked for, now or before."""
        cutoff_us = kept_from(row["floor_rev"], row["scoped_cutoff"], row["tracked_from"])
        if cutoff_us is not None and plan is not None and plan.days:
            # The crawl may have met the account while it was not active, and a deleted one begins anew.
            cutoff_us = None if plan.cutoff_us is None else min(cutoff_us, plan.cutoff_us)
        request = system_request(RequestLane.RESYNC, row["did"], cutoff_us, now)
        subject = request_subject(request.lane, request.did)
        try:
            await self._js.publish(
                subject,
                request.model_dump_json().encode(),
                stream=STREAM_REQUESTS,
                headers={"Nats-Msg-Id": request.job_id},
            )
        except (nats.errors.Error, OSError) as error:
            if isinstance(error, APIError) and subject_is_taken(error):
                metrics.RESYNCS.labels("waits_already").inc()
                return True
            log.warning("no resync of %s asked for: %s", request.did, error)
            metrics.RESYNCS.labels("postponed").inc()
            return False
        metrics.RESYNCS.labels("filed").inc()
        return True

    async def _waiting(self) -> int:
        """How many resyncs have not ended, gaps' own among them."""
        try:
            return await requests_waiting(self._js, RequestLane.RESYNC)
        except (nats.errors.Error, OSError) as error:
            raise TransientError(f"what waits for repo-backfill cannot be read: {error}") from error

    async def _replay_is_under_way(self) -> bool:
        """Whether the replay may still bring commits: it goes on, or they wait in its lane."""
        try:
            progress = await self._firehose.replay()
            if progress is not None and progress.state in _UNFINISHED:
                return True
            return (await self._js.stream_info(STREAM_REPLAY)).state.messages > 0
        except (nats.errors.Error, OSError) as error:
            raise TransientError(f"the replay's state cannot be read: {error}") from error

    async def _plan(self) -> FirehosePlan | None:
        try:
            return (await self._firehose.plan())[0]
        except (nats.errors.Error, OSError) as error:
            raise TransientError(f"the plan cannot be read: {error}") from error


async def ask_anew(js: JetStreamContext, did: str, cutoff_us: int | None) -> BackfillRequest | None:
    """Ask, for an operator, for a repo whatever the table holds; None where a resync waits or runs. Raises nats errors.

    ``cutoff_us``: from when on the table is to hold it, in microseconds since 1970, None for all time.
    """
    request = system_request(RequestLane.RESYNC, did, cutoff_us, now_us()).model_copy(
        update={"requested_by": "operator", "anew": True}
    )
    subject, payload = request_subject(request.lane, did), request.model_dump_json().encode()
    try:
        await js.publish(subject, payload, stream=STREAM_REQUESTS, headers={"Nats-Msg-Id": request.job_id})
    except APIError as error:
        if subject_is_taken(error):
            return None
        raise
    return request
