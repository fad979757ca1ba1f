"""What is done with the messages of the backfill lane: contexts, one transaction, and what is told after it."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import nats.errors

from headwater.bus.job_store import JobStore
from headwater.bus.messages import BackfillMessage, Outcome, Rows, SnapshotBatch, SnapshotEnd, batch_of
from headwater.errors import InvalidInputError, TransientError
from indexer import metrics
from indexer.database import Database, translated
from indexer.dead_letters import DeadLetters, RefusedRecord
from indexer.isolate import refused_rows
from indexer.lane import AGAIN_SECONDS, Delivery, Written
from indexer.progress import Progress
from indexer.right_of_way import Pause, one_turn
from indexer.snapshots import EndContext, Group, Refused, Result, write_snapshots
from indexer.state import Track

_DELIVERIES_BEFORE_GIVING_UP = 300
"""With a second between them five minutes: several times the ack wait, after which missing batches come again."""


def weight(message: BackfillMessage) -> int:
    """How many rows a message brings into a transaction."""
    batch = batch_of(message)
    return 1 if batch is None else len(batch.put) + len(batch.held)


def is_awaited(message: BackfillMessage) -> bool:
    """Whether a message ends a snapshot of many: whoever waits for it has waited for all the others."""
    return isinstance(message, SnapshotEnd) and message.batches > 1


class BackfillWriter:
    """Writes groups of the backfill lane and tells what came of them."""

    def __init__(
        self,
        database: Database,
        jobs: JobStore,
        dead: DeadLetters,
        track: Track = Track.ALL,
        pause: Pause = one_turn,
    ) -> None:
        self._track = track
        self._pause = pause
        self._database = database
        self._jobs = jobs
        self._progress = Progress(jobs)
        self._dead = dead

    async def write(self, deliveries: Sequence[Delivery[BackfillMessage]]) -> Written:
        """Write a group. Raises TransientError when nothing can be written or told at the moment."""
        ends = await self._contexts(deliveries)
        connection = await self._database.connection()
        messages = [delivery.message for delivery in deliveries]
        try:
            with translated():
                result = await write_snapshots(connection, Group(messages, ends, pause=self._pause), self._track)
        except InvalidInputError:
            return Written([await self._write_alone(connection, delivery, ends) for delivery in deliveries])
        await self._tell(result)
        return Written([AGAIN_SECONDS if index in result.waiting else None for index in range(len(messages))])

    async def _write_alone(
        self, connection: asyncpg.Connection, delivery: Delivery[BackfillMessage], ends: dict[str, EndContext]
    ) -> float | None:
        """One message of a group that was refused, without the rows that cannot be written."""
        message = delivery.message
        refused, letters = Refused(), list[RefusedRecord]()
        if (batch := batch_of(message)) is not None:
            put = await refused_rows(connection, batch.did, batch.rev, batch.put)
            held = await refused_rows(connection, batch.did, batch.rev, batch.held)
            refused = Refused(frozenset(put), frozenset(held))
            letters = [*_letters(batch, batch.put, put), *_letters(batch, batch.held, held)]
        try:
            with translated():
                result = await write_snapshots(connection, Group([message], ends, {0: refused}), self._track)
        except InvalidInputError as error:
            await self._dead.message(delivery.msg.subject, delivery.msg.data, error)
            return None
        await self._dead.records(letters)
        await self._tell(result)
        return AGAIN_SECONDS if result.waiting else None

    async def _tell(self, result: Result) -> None:
        metrics.ROWS_WRITTEN.labels("backfill", "copy").inc(result.copied)
        metrics.ROWS_WRITTEN.labels("backfill", "merge").inc(result.merged)
        await self._progress.tell(result.told)

    async def _contexts(self, deliveries: Sequence[Delivery[BackfillMessage]]) -> dict[str, EndContext]:
        ends = [(d.message, d.count) for d in deliveries if isinstance(d.message, SnapshotEnd)]
        asked = {(end.did, end.job) for end, _ in ends if end.outcome in (Outcome.COMPLETE, Outcome.UNCHANGED)}
        try:
            heard = await self._jobs.heard(asked, "cancel")
        except (nats.errors.Error, OSError) as error:
            raise TransientError(f"a job's parts cannot be read: {error}") from error
        return {
            end.job: EndContext(heard[end.job].cancelled, exhausted=count > _DELIVERIES_BEFORE_GIVING_UP)
            if end.job in heard
            else EndContext()
            for end, count in ends
        }


def _letters(batch: SnapshotBatch, rows: Rows, refused: dict[int, str]) -> list[RefusedRecord]:
    return [
        RefusedRecord(batch.did, batch.rev, rows.collection[i], rows.rkey[i], rows.cid[i], rows.record[i], error)
        for i, error in refused.items()
    ]
