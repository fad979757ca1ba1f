"""What is done with the messages of the live lane."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import msgspec

from headwater.bus.messages import LiveBatch, LiveCommit
from headwater.errors import InvalidInputError
from indexer import metrics
from indexer.batch import joined, without
from indexer.database import Database, translated
from indexer.dead_letters import DeadLetters, RefusedRecord
from indexer.isolate import refused_rows
from indexer.lane import Delivery
from indexer.live import write_commits


def weight(message: LiveBatch) -> int:
    """How many rows a message brings into a transaction."""
    return sum(len(commit.put) + len(commit.delete) for commit in _commits(message))


class LiveWriter:
    """Writes groups of the live lane."""

    def __init__(self, database: Database, dead: DeadLetters) -> None:
        self._database = database
        self._dead = dead

    async def write(self, deliveries: Sequence[Delivery[LiveBatch]]) -> Sequence[float | None]:
        """Write a group. Raises TransientError when nothing can be written at the moment."""
        connection = await self._database.connection()
        commits = [commit for delivery in deliveries for commit in _commits(delivery.message)]
        try:
            with translated():
                written = await write_commits(connection, commits)
            metrics.ROWS_WRITTEN.labels("live", "merge").inc(written)
        except InvalidInputError:
            for delivery in deliveries:
                await self._write_alone(connection, delivery)
        return [None] * len(deliveries)

    async def _write_alone(self, connection: asyncpg.Connection, delivery: Delivery[LiveBatch]) -> None:
        commits: list[LiveCommit] = []
        letters: list[RefusedRecord] = []
        for commit in _commits(delivery.message):
            refused = await refused_rows(connection, commit.did, commit.rev, commit.put)
            letters += _letters(commit, refused)
            put, keys = without(commit.put, frozenset(refused))
            # The value that was there before is not the record's any more.
            commits.append(msgspec.structs.replace(commit, put=put, delete=joined([commit.delete, keys])))
        try:
            with translated():
                written = await write_commits(connection, commits)
        except InvalidInputError as error:
            await self._dead.message(delivery.msg.subject, delivery.msg.data, error)
            return
        metrics.ROWS_WRITTEN.labels("live", "merge").inc(written)
        await self._dead.records(letters)


def _commits(message: LiveBatch) -> list[LiveCommit]:
    return [event for event in message.events if isinstance(event, LiveCommit)]


def _letters(commit: LiveCommit, refused: dict[int, str]) -> list[RefusedRecord]:
    put = commit.put
    return [
        RefusedRecord(commit.did, commit.rev, put.collection[i], put.rkey[i], put.cid[i], put.record[i], error)
        for i, error in refused.items()
    ]
