"""Snapshots into the table: a group of batches and ends, of any repos, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import asyncpg

from headwater.bus.messages import BackfillMessage, Keys, Rows, SnapshotBatch, SnapshotEnd, batch_of
from headwater.bus.subjects import RequestLane
from headwater.clock import now_us
from indexer.batch import joined, keys_beside, rows_beside, rows_of, without
from indexer.live import release_deferred
from indexer.merge import Merge
from indexer.purge import purge_rest
from indexer.repos import load_jobs, lock_repos, save_jobs, save_repos
from indexer.right_of_way import Pause, one_turn
from indexer.rules import Fate, admit, complete, conclude, give_up
from indexer.state import Job, Repo, Track
from indexer.statements import SQL
from indexer.sync_rules import Desync, desynchronize
from indexer.table import copy_rows

BatchKey = tuple[str, int, int]


@dataclass(frozen=True)
class EndContext:
    """What is known of a job besides its SnapshotEnd, read before the transaction.

    ``exhausted``: its missing batches have been waited for long enough.
    """

    cancelled: bool = False
    exhausted: bool = False


@dataclass(frozen=True)
class Refused:
    """Indices of the rows of a batch that Postgres will not hold."""

    put: frozenset[int] = frozenset()
    held: frozenset[int] = frozenset()


@dataclass
class Group:
    """The messages of one transaction. ``refused`` are the rows that Postgres will not hold, by message."""

    messages: Sequence[BackfillMessage]
    ends: Mapping[str, EndContext] = field(default_factory=dict)
    refused: Mapping[int, Refused] = field(default_factory=dict)
    pause: Pause = one_turn


@dataclass
class Result:
    """What a committed transaction came to.

    ``waiting`` are the indices of the ends whose batches are missing; ``told`` are jobs whose state is to be told;
    ``copied`` and ``merged`` count rows by the way they took.
    """

    waiting: set[int] = field(default_factory=set)
    told: list[Job] = field(default_factory=list)
    copied: int = 0
    merged: int = 0
    dropped: int = 0


async def write_snapshots(connection: asyncpg.Connection, group: Group, track: Track = Track.ALL) -> Result:
    """Write a group. Raises driver errors; then nothing was written."""
    try:
        return await _Transaction(connection, group, track, may_copy=True).run()
    except asyncpg.UniqueViolationError:
        # Rows were there although nobody is known to have written any (somebody's own import).
        return await _Transaction(connection, group, track, may_copy=False).run()


class _Transaction:
    def __init__(self, connection: asyncpg.Connection, group: Group, track: Track, *, may_copy: bool) -> None:
        self._connection = connection
        self._group = group
        self._track = track
        self._may_copy = may_copy
        self._repos: dict[str, Repo] = {}
        self._jobs: dict[str, Job] = {}
        self._attempts: dict[str, int] = {}
        self._kept: set[str] = set()
        self._swept: list[SnapshotEnd] = []
        self._result = Result()

    async def run(self) -> Result:
        async with self._connection.transaction():
            await self._load()
            pending = [did for did, repo in self._repos.items() if repo.pending_rev is not None]
            await self._write_batches()
            await self._conclude_ends()
            await self._forget_ended()
            await self._settle_deferred(pending)
            await save_repos(self._connection, self._repos.values())
            await save_jobs(self._connection, self._jobs.values())
        return self._result

    async def _load(self) -> None:
        messages = self._group.messages
        self._repos = await lock_repos(self._connection, {m.did for m in messages}, self._track)
        await self._finish_purges()
        holders = {repo.snapshot_job for repo in self._repos.values() if repo.snapshot_job is not None}
        self._jobs = await load_jobs(self._connection, {m.job: m.did for m in messages}, holders)
        self._attempts = {job_id: job.attempt for job_id, job in self._jobs.items()}

    async def _finish_purges(self) -> None:
        """A snapshot of an account that was deleted and is there again must not meet rows that are about to go."""
        for message in self._group.messages:
            repo = self._repos[message.did]
            if repo.purging and repo.void_rev is not None and message.epoch == repo.epoch:
                await purge_rest(self._connection, repo.did, repo.void_rev)
                repo.purging = False

    async def _write_batches(self) -> None:
        copied, kept = [], []
        merge = Merge()
        admitted = await self._admit_batches()
        ending = self._ending()
        for index, batch in admitted:
            put, held, bad, others = self._wanted(index, batch)
            fresh = self._repos[batch.did].snapshot_fresh
            self._repos[batch.did].written = True
            if fresh:
                copied.append(rows_of(batch.did, batch.rev, put))
                self._result.copied += len(put)
            else:
                await merge.compare(self._connection, batch, put, may_insert=True)
            await merge.compare(self._connection, batch, held, may_insert=False)
            merge.delete(batch, bad)
            if fresh and batch.job in ending:
                continue  # there will be no sweep, either
            # Rows that this snapshot wrote, or gave its rev, need no protection from its sweep.
            beyond: list[Keys | Rows] = [held, others]
            rests = joined([put, *beyond] if batch.whole and not fresh else beyond)
            kept.append((batch.job, batch.attempt, batch.batch, rests.collection, rests.rkey))
        if copied:
            await copy_rows(self._connection, chain.from_iterable(copied), self._group.pause)
        self._result.merged = await merge.write(self._connection, self._group.pause)
        if kept:
            self._kept = {job_id for job_id, *_ in kept}
            columns = ("job_id", "attempt", "batch", "collection", "rkey")
            await self._connection.copy_records_to_table("snapshot_batch", records=kept, columns=columns)

    async def _admit_batches(self) -> list[tuple[int, SnapshotBatch]]:
        found = ((index, batch_of(message)) for index, message in enumerate(self._group.messages))
        batches = [(index, batch) for index, batch in found if batch is not None]
        done = await self._committed(batches)
        admitted = []
        for index, batch in batches:
            repo, job = self._repos[batch.did], self._jobs[batch.job]
            key = (batch.job, batch.attempt, batch.batch)
            if not admit(repo, job, self._jobs, batch) or key in done:
                self._result.dropped += 1
                continue
            if not self._may_copy:
                repo.written_by_other()
            done.add(key)
            job.batches += 1
            job.records += len(batch.put)
            admitted.append((index, batch))
        # One that came later in the group may have taken the repo from an earlier one.
        return [
            (index, batch) for index, batch in admitted if self._repos[batch.did].is_held_by(batch.job, batch.attempt)
        ]

    def _ending(self) -> set[str]:
        """Jobs whose attempt ends in this transaction, however it does: a batch that comes again is refused by that."""
        ends = [message for message in self._group.messages if isinstance(message, SnapshotEnd)]
        jobs = self._jobs
        return {e.job for e in ends if jobs[e.job].attempt == e.attempt and jobs[e.job].batches >= e.batches}

    def _wanted(self, index: int, batch: SnapshotBatch) -> tuple[Rows, Rows, Keys, Keys]:
        """What of a batch may be written: rows in and outside the scope, and the keys of both that may not, or of
        which only the key is known. Excluded collections are in none, so that the sweep takes what is left of them.
        """
        refused = self._group.refused.get(index, Refused())
        put, bad = without(batch.put, refused.put)
        held, unrefreshed = without(batch.held, refused.held)
        beyond = joined([unrefreshed, batch.keys])
        if names := self._repos[batch.did].excluded:
            excluded = frozenset(names)
            put, held = rows_beside(put, excluded), rows_beside(held, excluded)
            bad, beyond = keys_beside(bad, excluded), keys_beside(beyond, excluded)
        return put, held, bad, beyond

    async def _committed(self, batches: list[tuple[int, SnapshotBatch]]) -> set[BatchKey]:
        # Of a job that the table has never heard of nothing is committed.
        keys = [(b.job, b.attempt, b.batch) for _, b in batches if self._attempts[b.job]]
        if not keys:
            return set()
        rows = await self._connection.fetch(SQL["committed_batches"], *map(list, zip(*keys, strict=True)))
        return {(row["job_id"], row["attempt"], row["batch"]) for row in rows}

    async def _conclude_ends(self) -> None:
        for index, end in enumerate(self._group.messages):
            if not isinstance(end, SnapshotEnd):
                continue
            repo, job = self._repos[end.did], self._jobs[end.job]
            context = self._group.ends.get(end.job, EndContext())
            was_final = job.final
            fate = conclude(repo, job, self._jobs, end, cancelled=context.cancelled)
            if fate is Fate.WAIT and context.exhausted:
                give_up(repo, job, end)
            elif fate is Fate.WAIT:
                self._result.waiting.add(index)
            elif fate is Fate.SWEEP:
                await self._sweep(repo, job, end)
            # Crawls and resyncs are nobody's backfill: they must not put a user who never asked into cooldown.
            if job.state == "done" and not was_final and end.lane == RequestLane.USER:
                repo.last_backfill_at = now_us()
                repo.last_backfill_days = end.days
        self._result.told = [job for job in self._jobs.values() if job.did in self._repos]

    async def _sweep(self, repo: Repo, job: Job, end: SnapshotEnd) -> None:
        deleted, unconfirmed = 0, False
        if not repo.snapshot_fresh:
            await self._connection.execute(SQL["allow_hash_joins"])
            name = "sweep_whole" if end.whole else "sweep_scoped"
            swept = await self._connection.fetchrow(SQL[name], end.did, end.rev, end.job, end.attempt)
            assert swept is not None
            deleted, unconfirmed = swept["deleted"], swept["unconfirmed"]
        complete(repo, job, end, deleted)
        if unconfirmed:
            desynchronize(repo, Desync.LATE, end.rev, now_us())
        self._swept.append(end)

    async def _forget_ended(self) -> None:
        ended = []
        for job in self._jobs.values():
            if not self._attempts[job.job_id] and job.job_id not in self._kept:
                continue  # it began here, and has left nothing
            if job.state != "indexing":
                ended.append((job.job_id, job.attempt))
            elif job.attempt > self._attempts[job.job_id]:
                ended.append((job.job_id, job.attempt - 1))
        if ended:
            await self._connection.execute(SQL["drop_batches"], *map(list, zip(*ended, strict=True)))

    async def _settle_deferred(self, pending: list[str]) -> None:
        if raised := [(end.did, end.rev) for end in self._swept if end.whole]:
            for name in ("drop_below_floor", "drop_deferred"):
                await self._connection.execute(SQL[name], *map(list, zip(*raised, strict=True)))
        if released := [did for did in pending if self._repos[did].pending_rev is None]:
            await release_deferred(self._connection, self._repos, released)
