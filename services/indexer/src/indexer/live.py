"""Live commits into the table, in one transaction a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import asyncpg
import msgspec

from headwater.bus.messages import LiveCommit
from indexer.batch import fold
from indexer.repos import lock_repos, save_repos
from indexer.rules import is_below_floor, is_deferred
from indexer.state import Repo
from indexer.statements import SQL
from indexer.table import delete_rows, merge_rows

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(LiveCommit)


async def write_commits(connection: asyncpg.Connection, commits: Sequence[LiveCommit]) -> int:
    """Write a group of commits, of any repos and in any order; returns how many records and deletes were applied.

    Raises driver errors; then nothing was written.
    """
    async with connection.transaction():
        repos = await lock_repos(connection, {commit.did for commit in commits})
        written = await apply_commits(connection, repos, commits)
        await save_repos(connection, repos.values())
    return written


async def apply_commits(
    connection: asyncpg.Connection, repos: Mapping[str, Repo], commits: Sequence[LiveCommit]
) -> int:
    """Apply, defer or drop each commit as its locked repo says; returns how many records and deletes were applied."""
    wanted = [c for c in commits if not repos[c.did].opted_out and not is_below_floor(repos[c.did], c.rev)]
    deferred = [c for c in wanted if is_deferred(repos[c.did], c.rev)]
    if deferred:
        payloads = [_encoder.encode(c) for c in deferred]
        await connection.execute(SQL["insert_deferred"], [c.did for c in deferred], [c.rev for c in deferred], payloads)
    applied = [c for c in wanted if not is_deferred(repos[c.did], c.rev)]
    for commit in applied:
        repo = repos[commit.did]
        repo.written_by_other()
        if commit.rev > (repo.rev or ""):
            repo.rev, repo.data = commit.rev, commit.data
    folded = fold(applied)
    if folded.puts:
        await merge_rows(connection, folded.puts)
    await delete_rows(connection, folded.deletes)
    return len(folded.puts) + len(folded.deletes)


async def release_deferred(connection: asyncpg.Connection, repos: Mapping[str, Repo], dids: Sequence[str]) -> None:
    """Apply what was deferred for snapshots that will not complete."""
    rows = await connection.fetch(SQL["take_deferred"], list(dids))
    if rows:
        await connection.execute(SQL["empty_staged"])
        await apply_commits(connection, repos, [_decoder.decode(row["payload"]) for row in rows])
