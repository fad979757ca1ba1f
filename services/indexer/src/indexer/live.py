"""Events of the firehose into the table, in one transaction a group; those of the replay as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import asyncpg
import msgspec

from headwater.bus.messages import LiveAccount, LiveCommit, LiveEvent, LiveIdentity, LiveSync
from headwater.clock import now_us
from indexer.account_rules import follow_account, follow_identity
from indexer.batch import Fold, fold, keys_beside, picked, rows_beside
from indexer.repos import lock_followed, save_repos
from indexer.right_of_way import Pause, one_turn
from indexer.rules import beside_scope, is_deferred, is_late, is_void
from indexer.state import Repo, Track
from indexer.statements import SQL
from indexer.sync_rules import Desync, desynchronize, follow_broken, follow_commit, follow_sync
from indexer.table import are_few, delete_rows, merge_rows, write_few

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(LiveCommit)


async def write_events(
    connection: asyncpg.Connection,
    events: Sequence[LiveEvent],
    *,
    replayed: bool = False,
    track: Track = Track.ALL,
    pause: Pause = one_turn,
) -> int:
    """Write a group of events, of any repos and in any order; returns how many records and deletes were applied.

    ``replayed``: they are of the relay's past. Raises driver errors; then nothing was written.
    """
    async with connection.transaction():
        repos = await lock_followed(connection, {event.did for event in events}, track)
        if not repos:
            return 0
        course = _Course(repos, replayed=replayed)
        for event in events:
            course.follow(event)
        if course.deleted:
            await connection.execute(SQL["forget_deferred"], course.deleted)
        counting = await _counting(connection, repos, course.commits)
        folded, late = fold(counting), _late(repos, counting)
        if late or not are_few(folded.puts):
            await _write(connection, repos, folded, late, pause)
            await save_repos(connection, repos.values())
        else:
            await write_few(connection, folded, repos.values())
    return len(folded.puts) + len(folded.deletes)


class _Course:
    """Takes events one after the other: moves each repo's state, and keeps the commits whose records count."""

    def __init__(self, repos: Mapping[str, Repo], *, replayed: bool) -> None:
        self._repos = repos
        self._replayed = replayed
        self._now = now_us()
        self.commits: list[LiveCommit] = []
        self.deleted: list[str] = []

    def follow(self, event: LiveEvent) -> None:
        repo = self._repos.get(event.did)
        if repo is None:
            return
        if event.at_us:
            repo.tracked_from = min(event.at_us, repo.tracked_from or event.at_us)
        now, replayed = self._now, self._replayed
        if isinstance(event, LiveCommit):
            if follow_commit(repo, event, replayed=replayed, now_us=now) and not is_void(repo, event.rev):
                self.commits.append(event)
        elif isinstance(event, LiveSync):
            follow_sync(repo, event, replayed=replayed, now_us=now)
        elif isinstance(event, LiveAccount):
            if follow_account(repo, event, now):
                self.deleted.append(repo.did)
                self.commits = [commit for commit in self.commits if commit.did != repo.did]
        elif isinstance(event, LiveIdentity):
            follow_identity(repo, event, now)
        else:
            follow_broken(repo, event, now)


async def _counting(
    connection: asyncpg.Connection, repos: Mapping[str, Repo], commits: Sequence[LiveCommit]
) -> list[LiveCommit]:
    """Of commits, what their locked repos say is to be written now; what has to wait is deferred.

    A commit older than others that came before counts as well: the highest rev of a key wins. Of one that is older than
    a snapshot with a cutoff only what is not in its scope counts, and then the repo is out of step: whether the
    snapshot's repo still held it is not known.
    """
    deferred = [c for c in commits if is_deferred(repos[c.did], c.rev)]
    if deferred:
        payloads = [_encoder.encode(c) for c in deferred]
        await connection.execute(SQL["insert_deferred"], [c.did for c in deferred], [c.rev for c in deferred], payloads)
    applied = [c for c in commits if not is_deferred(repos[c.did], c.rev)]
    for commit in applied:
        repos[commit.did].written_by_other()
    return [_what_counts(repos[commit.did], commit) for commit in applied]


async def _write(
    connection: asyncpg.Connection,
    repos: Mapping[str, Repo],
    folded: Fold,
    late: Sequence[LiveCommit],
    pause: Pause = one_turn,
) -> None:
    if folded.puts:
        await merge_rows(connection, folded.puts, pause)
    await delete_rows(connection, folded.deletes)
    await _note_late(connection, repos, late)


def _late(repos: Mapping[str, Repo], commits: Sequence[LiveCommit]) -> list[LiveCommit]:
    return [c for c in commits if c.put and is_late(repos[c.did], c.rev)]


def _what_counts(repo: Repo, commit: LiveCommit) -> LiveCommit:
    put, delete = commit.put, commit.delete
    if repo.excluded:
        excluded = frozenset(repo.excluded)
        put, delete = rows_beside(put, excluded), keys_beside(delete, excluded)
    if is_late(repo, commit.rev):
        put = picked(put, beside_scope(repo, put))
    if put is commit.put and delete is commit.delete:
        return commit
    return msgspec.structs.replace(commit, put=put, delete=delete)


async def _note_late(connection: asyncpg.Connection, repos: Mapping[str, Repo], late: Sequence[LiveCommit]) -> None:
    """Of late commits: those repos are out of step of which a row is there that no snapshot has confirmed."""
    keys = [(c.did, *key, c.rev) for c in late for key in zip(c.put.collection, c.put.rkey, strict=True)]
    # The repo that the snapshot found held what its own commit wrote.
    unsure = [key for key in keys if key[-1] != repos[key[0]].scoped_rev]
    if unsure:
        for row in await connection.fetch(SQL["unconfirmed_repos"], *map(list, zip(*unsure, strict=True))):
            repo = repos[row["did"]]
            desynchronize(repo, Desync.LATE, repo.scoped_rev or "", now_us())


async def release_deferred(connection: asyncpg.Connection, repos: Mapping[str, Repo], dids: Sequence[str]) -> None:
    """Apply what was deferred for snapshots that will not complete."""
    rows = await connection.fetch(SQL["take_deferred"], list(dids))
    if rows:
        await connection.execute(SQL["empty_staged"])
        commits = [_decoder.decode(row["payload"]) for row in rows]
        counting = await _counting(connection, repos, [c for c in commits if not is_void(repos[c.did], c.rev)])
        await _write(connection, repos, fold(counting), _late(repos, counting))
