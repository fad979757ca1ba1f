"""The batches of a transaction against rows that are there already: only what differs is sent and written."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import asyncpg

from headwater.bus.messages import Keys, Rows, SnapshotBatch
from indexer.batch import KeyAt, Row, compare, picked, rows_of, runs
from indexer.right_of_way import Pause
from indexer.table import bump_rows, delete_rows, merge_rows, stored_keys


class Merge:
    """Collects what the batches come to, then writes it all at once."""

    def __init__(self) -> None:
        self._rows: list[Iterator[Row]] = []
        self._count = 0
        self._bumps: list[KeyAt] = []
        self._deletes: list[KeyAt] = []

    async def compare(
        self, connection: asyncpg.Connection, batch: SnapshotBatch, rows: Rows, *, may_insert: bool
    ) -> None:
        """Find what of a batch's rows is to be written. ``may_insert`` is false for rows outside the scope."""
        for run in runs(rows):
            rkeys = rows.rkey[run]
            stored = await stored_keys(connection, batch.did, rows.collection[run.start], min(rkeys), max(rkeys))
            found = compare(rows, run, batch.rev, stored)
            wanted = sorted(found.missing + found.changed) if may_insert else found.changed
            if wanted:
                self._rows.append(rows_of(batch.did, batch.rev, picked(rows, wanted)))
                self._count += len(wanted)
            if not batch.whole:
                keys = ((rows.collection[i], rows.rkey[i]) for i in found.equal)
                self._bumps += [KeyAt(batch.did, *key, batch.rev) for key in keys]

    def delete(self, batch: SnapshotBatch, keys: Keys) -> None:
        """Records of which Postgres will not hold the present value: an older one must not stand for it."""
        pairs = zip(keys.collection, keys.rkey, strict=True)
        self._deletes += [KeyAt(batch.did, collection, rkey, batch.rev) for collection, rkey in pairs]

    async def write(self, connection: asyncpg.Connection, pause: Pause) -> int:
        """Write it; returns how many rows were sent."""
        if self._rows:
            await merge_rows(connection, chain.from_iterable(self._rows), pause)
        await bump_rows(connection, self._bumps)
        await delete_rows(connection, self._deletes)
        return self._count
