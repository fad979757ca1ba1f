"""What is done with the messages of the live lane and of the replay's."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import msgspec

from headwater.bus.messages import LiveBatch, LiveCommit, LiveEvent
from headwater.errors import InvalidInputError
from indexer import metrics
from indexer.batch import joined, without
from indexer.database import Database, translated
from indexer.dead_letters import DeadLetters, RefusedRecord
from indexer.isolate import refused_rows
from indexer.lane import Delivery, Written
from indexer.live import write_events
from indexer.right_of_way import Pause, one_turn
from indexer.state import Track
from indexer.wal import Wal


def weight(message: LiveBatch) -> int:
    """How many rows a message brings into a transaction."""
    return sum(len(event.put) + len(event.delete) if isinstance(event, LiveCommit) else 1 for event in message.events)


class LiveWriter:
    """Writes groups of events; ``replayed``: they are of the relay's past."""

    def __init__(
        self,
        database: Database,
        wal: Wal,
        dead: DeadLetters,
        *,
        replayed: bool = False,
        track: Track = Track.ALL,
        pause: Pause = one_turn,
    ) -> None:
        self._database = database
        self._wal = wal
        self._dead = dead
        self._replayed = replayed
        self._track = track
        self._pause = pause

    async def write(self, deliveries: Sequence[Delivery[LiveBatch]]) -> Written:
        """Write a group. Raises TransientError when nothing can be written at the moment."""
        sure = await self._wal.witness()
        connection = await self._database.connection()
        try:
            await self._write(connection, [event for delivery in deliveries for event in delivery.message.events])
        except InvalidInputError:
            for delivery in deliveries:
                await self._write_alone(connection, delivery)
        return Written([None] * len(deliveries), sure)

    async def _write_alone(self, connection: asyncpg.Connection, delivery: Delivery[LiveBatch]) -> None:
        events: list[LiveEvent] = []
        letters: list[RefusedRecord] = []
        for commit in delivery.message.events:
            if not isinstance(commit, LiveCommit):
                events.append(commit)
                continue
            refused = await refused_rows(connection, commit.did, commit.rev, commit.put)
            letters += _letters(commit, refused)
            put, keys = without(commit.put, frozenset(refused))
            # The value that was there before is not the record's any more.
            events.append(msgspec.structs.replace(commit, put=put, delete=joined([commit.delete, keys])))
        try:
            await self._write(connection, events)
        except InvalidInputError as error:
            await self._dead.message(delivery.msg.subject, delivery.msg.data, error)
            return
        await self._dead.records(letters)

    async def _write(self, connection: asyncpg.Connection, events: Sequence[LiveEvent]) -> None:
        with translated():
            written = await write_events(
                connection, events, replayed=self._replayed, track=self._track, pause=self._pause
            )
        metrics.ROWS_WRITTEN.labels("replay" if self._replayed else "live", "merge").inc(written)


def _letters(commit: LiveCommit, refused: dict[int, str]) -> list[RefusedRecord]:
    put = commit.put
    return [
        RefusedRecord(commit.did, commit.rev, put.collection[i], put.rkey[i], put.cid[i], put.record[i], error)
        for i, error in refused.items()
    ]
