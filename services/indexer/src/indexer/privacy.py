"""Carrying out what accounts decide about their data: one transaction, then the word to their running jobs.

The decision takes effect with its commit, for every writer that locks the repo after it and for every view. Rows that
are to go are deleted after it, some at a time (``indexer.purge``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import asyncpg
import nats.errors

from headwater.bus.job_store import JobStore
from headwater.bus.queries import ChangePrivacy, PrivacyChanged
from headwater.clock import now_us
from headwater.errors import TransientError
from indexer.answers import Answers
from indexer.database import Database, translated
from indexer.live import release_deferred
from indexer.privacy_rules import decide, lets_in, reason_of
from indexer.progress import Progress
from indexer.repos import load_jobs, lock_repos, save_jobs, save_repos
from indexer.state import Job, Repo, Track
from indexer.statements import SQL


class Privacy:
    """Changes for one account at a time. All raise TransientError; then nothing has changed, or it is done."""

    def __init__(self, database: Database, answers: Answers, jobs: Callable[[], Awaitable[JobStore]]) -> None:
        self._database = database
        self._answers = answers
        self._jobs = jobs
        self._turn = asyncio.Lock()

    async def change(self, change: ChangePrivacy) -> PrivacyChanged:
        """Make a change and tell the account's jobs; with the settings as they are then."""
        try:
            store = await self._jobs()
            attempts = await _unfinished(store, change.did) if reason_of(change) else {}
        except (nats.errors.Error, OSError) as error:
            raise TransientError(f"the jobs cannot be read: {error}") from error
        async with self._turn:
            connection = await self._database.connection()
            with translated():
                refused, ended = await write_change(connection, change, attempts)
        await Progress(store).tell(ended)
        return PrivacyChanged(settings=await self._answers.account_settings(change.did), refused=refused)


async def write_change(
    connection: asyncpg.Connection, change: ChangePrivacy, attempts: Mapping[str, int]
) -> tuple[str | None, list[Job]]:
    """Write a change. ``attempts`` are the account's unfinished jobs on the bus, with their attempts.

    Returns why it was refused, if it was, and the jobs that it has ended. Raises driver errors: nothing was written.
    """
    async with connection.transaction():
        await connection.execute(SQL["wait_briefly"])
        repos = await lock_repos(connection, {change.did}, Track.NONE)
        repo = repos[change.did]
        holder, was_pending = repo.snapshot_job, repo.pending_rev is not None
        refused = decide(repo, change, now_us())
        if refused is not None:
            return refused, []
        ended = await _end_jobs(connection, repo, change, attempts, holder)
        if change.delete:
            await connection.execute(SQL["forget_deferred"], [repo.did])
        elif was_pending and repo.pending_rev is None:
            await release_deferred(connection, repos, [repo.did])
        await save_repos(connection, [repo])
    return None, ended


async def _end_jobs(
    connection: asyncpg.Connection, repo: Repo, change: ChangePrivacy, attempts: Mapping[str, int], holder: str | None
) -> list[Job]:
    """Decide the account's jobs; the table knows which of them are done by now."""
    reason = reason_of(change)
    wanted = dict.fromkeys(attempts, repo.did)
    jobs = await load_jobs(connection, wanted, [holder] if holder is not None else [])
    ended = []
    for job in jobs.values():
        if job.final or job.state == "superseded":
            continue
        if reason is not None:
            job.attempt = max(job.attempt, attempts.get(job.job_id, 1))
            job.fail(reason)
        elif job.job_id == holder and lets_in(change):
            job.state = "superseded"
        else:
            continue
        if repo.snapshot_job == job.job_id:
            repo.end_snapshot()
        ended.append(job)
    if ended:
        await save_jobs(connection, ended)
        await connection.execute(SQL["drop_batches"], [job.job_id for job in ended], [job.attempt for job in ended])
    return ended


async def _unfinished(store: JobStore, did: str) -> dict[str, int]:
    return {job.job_id: max(job.attempt, 1) for job in await store.jobs_of(did) if not job.state.final}
