"""One attempt at a job: resolve, fetch, verify whole, publish. It ends with everything on the bus, or an error.

Nothing is published before the commit, its signature and the whole tree have been verified.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from headwater.bus.jobs import MAX_COLLECTIONS, BackfillRequest, FetchState
from headwater.bus.messages import MAX_RECORDS_PER_BATCH, Outcome, SnapshotBatch, SnapshotEnd, encode
from headwater.bus.queries import RepoState
from headwater.bus.subjects import backfill_subject
from headwater.car import CarLimits
from headwater.cid import cid_text
from headwater.clock import now_us
from headwater.collection_filter import CollectionFilter
from headwater.errors import InvalidInputError, Reason, TransientError
from repo_backfill import metrics
from repo_backfill.account import Account
from repo_backfill.car_store import CarStore
from repo_backfill.dead_letters import KEPT_PER_JOB
from repo_backfill.progress import Progress
from repo_backfill.repo_car import VerifiedRepo, read_car, verify_repo
from repo_backfill.snapshot import Batch, Scope, Snapshot
from repo_backfill.tools import TURNS, Tools
from repo_backfill.xrpc import MOVED

_MESSAGE_OVERHEAD = 64 * 1024
# What a PDS that has no getLatestCommit, or a broken one, answers. getRepo decides then.
_NO_SHORTCUT = frozenset({Reason.REFUSED_BY_HOST, Reason.RESPONSE_MALFORMED})


# What an export looks like that was cut off, or made while the repo was being written.
_TORN = frozenset({Reason.CAR_TRUNCATED, Reason.BLOCK_MISSING, Reason.MST_INCOMPLETE})
_TRIES_WHEN_TORN = 2


class DoubtfulRepoError(TransientError):
    """The PDS sent what cannot be right, but may send better next time: a replica lags, a writer was at work.

    ``reason`` is the job's when it stays so for ``tries`` tries (None: as many as any failure gets).
    """

    def __init__(self, reason: Reason, detail: str, tries: int | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.tries = tries


class Attempt:
    """One attempt; ``progress`` has been claimed for it and tells its number."""

    def __init__(self, tools: Tools, request: BackfillRequest, progress: Progress, number: int) -> None:
        self._tools = tools
        self._request = request
        self._progress = progress
        self._number = number
        self._turn = TURNS[request.lane]
        self._account = Account(tools.identities, request.did, request.did_key)
        self._state = RepoState(did=request.did)
        self._letters = 0
        self._pds: str | None = None
        self._wanted = tools.settings.collection_filter
        self._asked_at_us = 0

    async def run(self) -> None:
        """Do it; returns when all is published. Raises InvalidInputError with the job's reason, TransientError."""
        self._state = await self._tools.indexer.repo_state(self._request.did)
        if self._state.opted_out:
            raise InvalidInputError(Reason.OPTED_OUT, "the account does not want to be indexed")
        if self._request.car_object is not None:
            await self._import(self._request.car_object)
            return
        # Its directory is asked first, which knows of accounts that are gone.
        self._progress.note(asked_at_us=now_us())
        pds = await self._account.pds()
        try:
            await self._fetch(pds)
        except InvalidInputError as error:
            if error.reason not in MOVED or not await self._account.moved_from(pds):
                raise
            await self._fetch(await self._account.pds())

    async def _fetch(self, pds: str) -> None:
        self._pds = pds
        self._asked_at_us = now_us()
        self._progress.note(pds=pds, asked_at_us=self._asked_at_us)
        rev = await self._latest_rev(pds)
        if rev is not None and self._is_covered(rev):
            await self._publish_unchanged(rev)
            return
        try:
            async with self._store() as store, AsyncExitStack() as held:
                async with self._tools.pds.turn(pds, self._turn):
                    await held.enter_async_context(self._tools.fetching.place(self._turn.rank))
                    root = await self._read_from_pds(pds, store)
                await self._verify_and_publish(root, store)
        except InvalidInputError as error:
            if error.reason in _TORN:
                raise DoubtfulRepoError(error.reason, error.detail, _TRIES_WHEN_TORN) from error
            raise

    async def _import(self, name: str) -> None:
        async with self._store() as store, self._tools.fetching.place(self._turn.rank):
            size = await self._tools.imports.size(name)
            root = await self._read(self._tools.imports.chunks(name), size, store)
            await self._verify_and_publish(root, store)

    async def _latest_rev(self, pds: str) -> str | None:
        """The newest rev, where there is something to compare it with; None when it is not known."""
        if self._state.floor_rev is None and self._state.scoped_rev is None:
            return None
        try:
            rev = await self._tools.pds.latest_rev(pds, self._request.did, self._turn)
        except InvalidInputError as error:
            if error.reason not in _NO_SHORTCUT:
                raise
            return None
        self._check_not_older(rev)
        return rev

    def _is_covered(self, rev: str) -> bool:
        """Whether the table holds the request's scope at this rev already."""
        state, cutoff_us = self._state, self._request.cutoff_us
        if self._request.anew:
            return False
        if rev == state.floor_rev and self._is_within(state.floor_collections):
            return True
        if rev != state.scoped_rev or state.scoped_cutoff_us is None or cutoff_us is None:
            return False
        return state.scoped_cutoff_us <= cutoff_us and self._is_within(state.scoped_collections)

    def _is_within(self, collections: str) -> bool:
        """Whether a snapshot with this filter holds what is wanted now: the filter may have been widened since."""
        return CollectionFilter.parse(collections).covers(self._wanted)

    def _cutoff_us(self) -> int | None:
        """Where the scope ends; None for all time.

        What the table holds whole is kept whole: its floor makes that the cheaper way too.
        """
        return None if self._state.floor_rev is not None else self._request.cutoff_us

    def _check_not_older(self, rev: str) -> None:
        newest = max(self._state.floor_rev or "", self._state.scoped_rev or "")
        if rev < newest:
            detail = f"rev {rev} is older than {newest}, which is in the table"
            if self._request.car_object is not None:
                raise InvalidInputError(Reason.COMMIT_REV, detail)
            raise DoubtfulRepoError(Reason.COMMIT_REV, detail)

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[CarStore]:
        store = CarStore(self._tools.budget, self._tools.index_budget, self._tools.settings.spool_directory)
        try:
            yield store
        finally:
            store.close()

    async def _read_from_pds(self, pds: str, store: CarStore) -> bytes:
        began = time.monotonic()
        async with self._tools.pds.repo(pds, self._request.did) as answer:
            length = answer.headers.get("Content-Length", "")
            size = int(length) if length.isascii() and length.isdigit() and len(length) < 18 else None
            root = await self._read(answer.chunks(), size, store)
        metrics.FETCH_SECONDS.observe(time.monotonic() - began)
        return root

    async def _read(self, chunks: AsyncIterator[bytes], size: int | None, store: CarStore) -> bytes:
        # Most repos are small, and here before anybody could have seen that they are being fetched.
        self._progress.note(state=FetchState.FETCHING, bytes_total=size)
        fetched = 0

        async def count(so_far: int) -> None:
            nonlocal fetched
            metrics.FETCH_BYTES.inc(so_far - fetched)
            fetched = so_far
            await self._progress.report(bytes_fetched=so_far)

        limits = CarLimits(total_bytes=self._tools.settings.headwater_car_max_bytes)
        async with self._progress.told_soon():
            root = await read_car(chunks, store, limits, count)
        self._progress.note(bytes_fetched=fetched)
        return root

    async def _verify_and_publish(self, root: bytes, store: CarStore) -> None:
        repo = await verify_repo(self._request.did, root, store, self._account.key, now_us())
        self._check_not_older(repo.commit.rev)
        if self._is_covered(repo.commit.rev):
            await self._publish_unchanged(repo.commit.rev)
            return
        handle = asyncio.create_task(self._account.handle())
        try:
            await self._publish(repo, handle)
        finally:
            handle.cancel()

    async def _publish(self, repo: VerifiedRepo, handle: asyncio.Task[str | None]) -> None:
        request, publisher = self._request, self._tools.publisher
        # From here on a full stream may stop the job for long: people shall see how far it came.
        save = self._progress.write if repo.count > MAX_RECORDS_PER_BATCH else self._progress.report
        await save(rev=repo.commit.rev, records_total=repo.count)
        scope = Scope(self._cutoff_us(), self._state.held, now_us(), self._wanted)
        snapshot = Snapshot(repo.blocks, repo.records, scope, publisher.max_payload - _MESSAGE_OVERHEAD)
        subject = backfill_subject(request.did)
        last: SnapshotBatch | None = None
        async with publisher.stream() as out:
            for batch in snapshot:
                await self._keep_refused(batch, repo.commit.rev)
                if batch.put or batch.held or batch.keys:
                    if last is not None:
                        await out.send(subject, encode(last), f"{request.job_id}/{self._number}/{last.batch}")
                    last = self._message(batch, repo.commit.rev, 0 if last is None else last.batch + 1)
                await self._progress.report(records_published=snapshot.seen, rejected=dict(snapshot.rejected))
                await asyncio.sleep(0)
        end = SnapshotEnd(
            did=request.did,
            job=request.job_id,
            attempt=self._number,
            epoch=self._state.epoch,
            lane=request.lane.value,
            outcome=Outcome.COMPLETE,
            rev=repo.commit.rev,
            data=cid_text(repo.commit.data),
            whole=scope.whole,
            days=request.days,
            cutoff_us=scope.cutoff_us,
            collections=self._wanted.text,
            at_us=self._asked_at_us,
            batches=0 if last is None else last.batch + 1,
            records=snapshot.published,
            rejected={reason.value: count for reason, count in snapshot.rejected.items()},
            handle=await handle,
            pds=self._pds,
            last=last,
        )
        largest = dict(snapshot.by_collection.most_common(MAX_COLLECTIONS))
        await self._end(end, records_published=snapshot.seen, rejected=end.rejected, collections=largest)

    def _message(self, batch: Batch, rev: str, number: int) -> SnapshotBatch:
        metrics.RECORDS_PUBLISHED.inc(len(batch.put) + len(batch.held))
        return SnapshotBatch(
            did=self._request.did,
            rev=rev,
            job=self._request.job_id,
            attempt=self._number,
            epoch=self._state.epoch,
            whole=self._cutoff_us() is None,
            batch=number,
            put=batch.put,
            held=batch.held,
            keys=batch.keys,
        )

    async def _keep_refused(self, batch: Batch, rev: str) -> None:
        for refused in batch.refused:
            metrics.RECORDS_REJECTED.labels(refused.reason.value).inc()
        kept = batch.refused[: KEPT_PER_JOB - self._letters]
        self._letters += len(kept)
        await self._tools.dead_letters.records(self._request.did, rev, self._request.job_id, kept)

    async def _publish_unchanged(self, rev: str) -> None:
        request = self._request
        end = SnapshotEnd(
            did=request.did,
            job=request.job_id,
            attempt=self._number,
            epoch=self._state.epoch,
            lane=request.lane.value,
            outcome=Outcome.UNCHANGED,
            rev=rev,
            whole=request.cutoff_us is None or rev == self._state.floor_rev,
            days=request.days,
            cutoff_us=request.cutoff_us,
            collections=self._wanted.text,
            at_us=self._asked_at_us,
            pds=self._pds,
        )
        await self._end(end)

    async def _end(self, end: SnapshotEnd, **figures: object) -> None:
        # First the figures: whoever sees the job done, which can be at once, must find them there.
        await self._progress.write(rev=end.rev, handle=end.handle, **figures)
        message_id = f"{end.job}/{end.attempt}/end"
        await self._tools.publisher.publish(backfill_subject(end.did), encode(end), message_id)
