"""What the property tests of convergence are made of: one repo's history, what is published of it, and its delivery.

A drawn history of one repo is the truth. Live commits and the messages of several snapshots (whole or with a cutoff,
of any commit, complete, cancelled or given up for another attempt) are delivered by a drawn schedule: any order, any
number of times, grouped into transactions, the two lanes at the same time.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from hypothesis import strategies as st

from headwater.bus.messages import (
    BackfillMessage,
    LiveCommit,
    Outcome,
    SnapshotBatch,
    SnapshotEnd,
)
from indexer import table
from indexer.database import connect
from indexer.live import write_events
from indexer.migrate import migrate
from indexer.snapshots import Group, write_snapshots
from indexer.statements import SQL
from indexer_rig import Key, keys, rev, rows

T = TypeVar("T")
State = dict[Key, int]

KEYS: tuple[Key, ...] = (
    ("app.bsky.feed.like", "a"),
    ("app.bsky.feed.post", "a"),
    ("com.example.unknown", "a"),
)
VALUES = 2
"""Few values, so that a record is often deleted and made again as it was: that has the same CID."""

_numbers = itertools.count()


class Tables:
    """A migrated database, two writers, and the connection by which accounts decide."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self.live = self.run(connect(url, "live", writes=True))
        self.backfill = self.run(connect(url, "backfill", writes=True))
        self.account = self.run(connect(url, "account", writes=True))
        self.run(migrate(self.live))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        for connection in (self.live, self.backfill, self.account):
            self.run(connection.close())
        self._loop.close()


@contextmanager
def open_tables(postgres_dsn: str, name: str) -> Iterator[Tables]:
    """A database of that name, for the length of the block."""

    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(postgres_dsn)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute(f"CREATE DATABASE {name}"))
    opened = Tables(urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}")))
    with pytest.MonkeyPatch.context() as patch:
        # Both ways of merging are in what is drawn.
        patch.setattr(table, "FEW_ROWS", 1)
        yield opened
    opened.close()
    asyncio.run(execute(f"DROP DATABASE {name}"))


@dataclass
class Snapshot:
    """A job to be: which commit's tree, the least value in scope (None: whole), how it ends, the batches' size."""

    at: int
    cutoff: int | None
    ending: Outcome
    size: int
    attempts: int
    at_again: int

    @property
    def whole(self) -> bool:
        return self.cutoff is None

    def scope(self, state: State) -> State:
        return {key: value for key, value in state.items() if self.cutoff is None or value >= self.cutoff}


@dataclass
class World:
    """One repo: its truth by commit, what was published of it, and which snapshots were swept."""

    did: str
    truth: list[State]
    commits: list[LiveCommit]
    backfill: list[BackfillMessage] = field(default_factory=list)
    done: list[tuple[Snapshot, int]] = field(default_factory=list)
    jobs: dict[str, tuple[Snapshot, dict[int, int]]] = field(default_factory=dict)


def world_of(history: list[dict[Key, int | None]]) -> World:
    did = f"did:plc:{next(_numbers):024d}"
    truth: list[State] = [{}]
    commits = []
    for changes in history:
        before = truth[-1]
        put = {key: value for key, value in changes.items() if value is not None}
        gone = sorted(key for key, value in changes.items() if value is None and key in before)
        truth.append({key: value for key, value in (before | put).items() if key not in gone})
        number = len(truth) - 1
        commits.append(LiveCommit(did=did, rev=rev(number), data="", seq=0, put=rows(put), delete=keys(*gone)))
    return World(did, truth, commits)


def messages_of(
    world: World, snapshot: Snapshot, job: str, attempt: int, at: int, *, held: bool, epoch: int
) -> list[BackfillMessage]:
    """What repo-backfill would publish for an attempt; the last batch with the end, or before it, as is legal, too."""
    state, scope = world.truth[at], snapshot.scope(world.truth[at])
    beyond = {key: value for key, value in state.items() if key not in scope}
    batches: list[SnapshotBatch] = []
    there = sorted(state)
    for number, start in enumerate(range(0, len(there), snapshot.size)):
        part = there[start : start + snapshot.size]
        outside = {key: beyond[key] for key in part if key in beyond}
        batches.append(
            SnapshotBatch(
                did=world.did,
                rev=rev(at),
                job=job,
                attempt=attempt,
                epoch=epoch,
                whole=snapshot.whole,
                batch=number,
                put=rows({key: scope[key] for key in part if key in scope}),
                held=rows(outside if held else {}),
                keys=keys(*([] if held else sorted(outside))),
            )
        )
    end = SnapshotEnd(
        did=world.did,
        job=job,
        attempt=attempt,
        epoch=epoch,
        lane="user",
        outcome=snapshot.ending,
        rev=rev(at),
        data="",
        whole=snapshot.whole,
        cutoff_us=None if snapshot.cutoff is None else snapshot.cutoff * 1_000_000,
        batches=len(batches),
        records=len(scope),
        last=batches[-1] if batches and at % 3 and snapshot.ending is Outcome.COMPLETE else None,
    )
    return [*(batches if end.last is None else batches[:-1]), end]


class Run:
    """Delivers what is published until everything is settled, as a drawn source of choices says."""

    def __init__(
        self, tables: Tables, world: World, snapshots: list[Snapshot], tail: int, choice: random.Random
    ) -> None:
        self._tables = tables
        self._world = world
        self._snapshots = list(snapshots)
        self._choice = choice
        self._live = world.commits[tail:]
        choice.shuffle(self._live)
        self._seen_live: list[LiveCommit] = []
        self._seen_backfill: list[BackfillMessage] = []

    def to_the_end(self) -> None:
        for _ in range(1_000):
            live, backfill = self._live_group(), self._backfill_group()
            if live or backfill:
                self._tables.run(self._deliver(live, backfill))
            elif self._snapshots:
                self._begin(self._snapshots.pop(0))
            elif not self._live and not self._world.backfill:
                return
        pytest.fail("the messages never settle")

    def _live_group(self) -> list[LiveCommit]:
        count = self._choice.randint(0, 2)
        group, self._live = self._live[:count], self._live[count:]
        again = [commit for commit in self._seen_live if self._choice.random() < 0.1]
        self._seen_live += group
        return group + again

    def _backfill_group(self) -> list[BackfillMessage]:
        if self._snapshots and self._choice.random() < 0.2:
            self._begin(self._snapshots.pop(0))
        waiting = self._world.backfill
        if self._choice.random() < 0.5:
            self._choice.shuffle(waiting)
        count = self._choice.randint(0, 4)
        group, self._world.backfill = waiting[:count], waiting[count:]
        again = [message for message in self._seen_backfill if self._choice.random() < 0.1]
        self._seen_backfill += group
        return group + again

    def _begin(self, snapshot: Snapshot) -> None:
        """As repo-backfill does: it asks what the table knows, and lets those be who opted out."""
        known = self._tables.run(self._tables.live.fetchrow(SQL["repo_states"], [self._world.did]))
        if known["opted_out"]:
            return
        job = f"job{next(_numbers)}"
        ats = dict.fromkeys(range(1, snapshot.attempts), snapshot.at)
        ats[snapshot.attempts] = snapshot.at if snapshot.attempts == 1 else snapshot.at_again
        self._world.jobs[job] = (snapshot, ats)
        for attempt, at in ats.items():
            messages = messages_of(self._world, snapshot, job, attempt, at, held=known["held"], epoch=known["epoch"])
            # An attempt that is followed by another was given up before its end, which it may have published or not.
            self._world.backfill += messages if attempt == snapshot.attempts else messages[:-1]

    async def _deliver(self, live: list[LiveCommit], backfill: list[BackfillMessage]) -> None:
        results = await asyncio.gather(
            write_events(self._tables.live, live) if live else _nothing(),
            write_snapshots(self._tables.backfill, Group(backfill)) if backfill else _nothing(),
            self._happens_beside(),
        )
        if backfill:
            self._settle(backfill, results[1])

    async def _happens_beside(self) -> None:
        """What else happens at the same time as a delivery."""

    def _settle(self, group: list[BackfillMessage], result: Any) -> None:
        self._world.backfill += [group[index] for index in sorted(result.waiting)]
        for job in result.told:
            snapshot, ats = self._world.jobs[job.job_id]
            if job.state == "done":
                at = ats[job.attempt]
                assert job.records == len(snapshot.scope(self._world.truth[at]))
                if (snapshot, at) not in self._world.done:
                    self._world.done.append((snapshot, at))


async def _nothing() -> None:
    return None


async def stored(connection: asyncpg.Connection, did: str) -> State:
    rows = await connection.fetch(
        "SELECT collection, rkey, cid, record ->> 'value' AS v FROM record WHERE did = $1", did
    )
    for row in rows:
        assert row["cid"] == f"cid{row['v']}", "a CID and a value of different records"
    return {(row["collection"], row["rkey"]): int(row["v"]) for row in rows}


changes = st.dictionaries(
    st.sampled_from(KEYS), st.one_of(st.none(), st.integers(0, VALUES - 1)), min_size=1, max_size=3
)


@st.composite
def scenarios(draw: st.DrawFn) -> tuple[list[dict[Key, int | None]], list[Snapshot], int, random.Random]:
    history = draw(st.lists(changes, min_size=2, max_size=8))
    ats = st.integers(0, len(history))
    snapshot = st.builds(
        Snapshot,
        at=ats,
        cutoff=st.one_of(st.none(), st.none(), st.integers(1, VALUES - 1)),
        ending=st.sampled_from([Outcome.COMPLETE] * 4 + [Outcome.CANCELLED, Outcome.FAILED]),
        size=st.integers(1, 3),
        attempts=st.sampled_from([1, 1, 1, 2, 3]),
        at_again=ats,
    )
    snapshots = draw(st.lists(snapshot, min_size=1, max_size=4))
    if draw(st.booleans()):  # as it mostly is: each job finds the repo as the one before did, or newer
        snapshots.sort(key=lambda one: one.at)
    tail = draw(st.integers(0, max(one.at for one in snapshots)))
    return history, snapshots, tail, random.Random(draw(st.integers(0, 2**32)))
