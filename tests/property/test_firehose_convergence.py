"""The firehose and snapshots converge: breaks, refused frames, syncs, replays, accounts that go and come back.

A drawn history of one account is the truth. Its events come by two lanes, what is before some moment by the replay,
grouped, again and again, and in any order, also where some commits are lost or refused on the way: after a crash a
bus delivers in no order. Snapshots are taken of any past moment meanwhile, and repos that are out of step are fetched
as ``indexer.resync`` would have them fetched, in the end until they are in step. Then the table holds the truth.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from drawn_history import (
    KEYS,
    OLD,
    History,
    Key,
    Moment,
    State,
    created_at,
    history_of,
    root_of,
    rows_of,
    time_of,
)
from headwater.bus.messages import (
    BackfillMessage,
    LiveEvent,
    Outcome,
    SnapshotBatch,
    SnapshotEnd,
)
from headwater.errors import Reason
from indexer.database import connect
from indexer.live import write_events
from indexer.migrate import migrate
from indexer.purge import purge_some
from indexer.repos import lock_repos
from indexer.snapshots import Group, write_snapshots
from indexer.statements import SQL
from indexer_rig import keys

T = TypeVar("T")
_numbers = itertools.count()


class Tables:
    """A migrated database, and a writer for each lane."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self.live, self.replay, self.backfill = (
            self.run(connect(url, name, writes=True)) for name in ("live", "replay", "backfill")
        )
        self.run(migrate(self.live))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        for connection in (self.live, self.replay, self.backfill):
            self.run(connection.close())
        self._loop.close()


@pytest.fixture(scope="module")
def tables(postgres_dsn: str) -> Iterator[Tables]:
    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(postgres_dsn)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute("CREATE DATABASE firehose_convergence"))
    opened = Tables(urlunsplit(urlsplit(postgres_dsn)._replace(path="/firehose_convergence")))
    yield opened
    opened.close()
    asyncio.run(execute("DROP DATABASE firehose_convergence"))


class Run:
    """Delivers everything as a source of choices says, then has fetched what is out of step."""

    def __init__(self, tables: Tables, history: History, tail: int, snapshots: int, choice: random.Random) -> None:
        self._tables = tables
        self._history = history
        self._choice = choice
        self._lanes: dict[bool, list[tuple[int, LiveEvent]]] = {
            True: [found for found in history.events if found[0] <= tail],
            False: [found for found in history.events if found[0] > tail],
        }
        # What a worker held that was killed: it comes when all the rest is done.
        self._held: dict[bool, list[tuple[int, LiveEvent]]] = {True: [], False: []}
        for replayed in (True, False):
            if choice.random() < 0.5:
                lane = self._lanes[replayed]
                self._held[replayed] = [found for found in lane if choice.random() < 0.3]
                self._lanes[replayed] = [found for found in lane if found not in self._held[replayed]]
            if choice.random() < 0.5:
                choice.shuffle(self._lanes[replayed])
        self._seen: dict[bool, list[LiveEvent]] = {True: [], False: []}
        last = len(history.moments) - 1
        self._begun = [last if choice.random() < 0.4 else choice.randint(0, last) for _ in range(snapshots)]
        self._backfill: list[BackfillMessage] = []
        self._known_deletion = 0
        # Once a repo is held whole it is fetched whole, so that the other way would come too seldom.
        self._may_be_whole = choice.random() < 0.4
        self.fetched = 0
        #: What was delivered in which transactions, for whoever has to understand a failure.
        self.course: list[str] = []

    def to_the_end(self) -> None:
        self._deliver_all()
        self._resync_until_in_step()
        self._lanes, self._held = self._held, {True: [], False: []}
        self._deliver_all()
        self._resync_until_in_step()
        while self._tables.run(purge_some(self._tables.live, 2)):
            pass

    def _deliver_all(self) -> None:
        for _ in range(500):
            if self._begun and self._choice.random() < 0.3:
                self._begin(self._begun.pop(), self._may_be_whole and self._choice.random() < 0.5)
            self._deliver()
            if not (self._lanes[True] or self._lanes[False] or self._begun or self._backfill):
                break
            if self._choice.random() < 0.1:
                self._resync()

    def _resync_until_in_step(self) -> None:
        for _ in range(5):
            if not self._resync():
                break
            while self._backfill:
                self._deliver()

    def _resync(self) -> bool:
        """Have the repo fetched if it is out of step."""
        repo = self._repo()
        if repo.sync_state == "synchronized" or repo.status != "active":
            return False
        self.fetched += 1
        self._begin(len(self._history.moments) - 1, repo.kept_from is None, surely=True)
        return True

    def _deliver(self) -> None:
        replay, live = self._group(True), self._group(False)
        count = self._choice.randint(0, 3)
        if self._choice.random() < 0.3:
            self._choice.shuffle(self._backfill)
        group, self._backfill = self._backfill[:count], self._backfill[count:]
        if self._choice.random() < 0.2:
            self._tables.run(purge_some(self._tables.live, 1))

        self.course += [_told(name, part) for name, part in zip(_LANES, (live, replay, group), strict=True) if part]

        async def all_at_once() -> None:
            results = await asyncio.gather(
                write_events(self._tables.live, live),
                write_events(self._tables.replay, replay, replayed=True),
                write_snapshots(self._tables.backfill, Group(group)) if group else asyncio.sleep(0),
            )
            if group:
                self._backfill += [group[index] for index in sorted(results[2].waiting)]

        self._tables.run(all_at_once())

    def _group(self, replayed: bool) -> list[LiveEvent]:
        count = self._choice.randint(0, 3)
        lane = self._lanes[replayed]
        group, self._lanes[replayed] = lane[:count], lane[count:]
        self._known_deletion = max([self._known_deletion, *(s for s, _ in group if s in self._history.deletions)])
        again = [happened for happened in self._seen[replayed] if self._choice.random() < 0.1]
        self._seen[replayed] += [happened for _, happened in group]
        return [happened for _, happened in group] + again

    def _begin(self, at: int, whole: bool, *, surely: bool = False) -> None:
        """What repo-backfill does: ask the indexer, then the host, and publish what that answers. Unless ``surely``
        somebody may cancel it."""
        repo = self._repo()
        at = max(at, self._known_deletion)
        moment = self._history.moments[at]
        whole = whole or repo.floor_rev is not None
        cutoff = None if whole else (repo.kept_from or time_of(0))
        job = f"job{next(_numbers)}"
        ending = SnapshotEnd(
            did=self._history.did,
            job=job,
            attempt=1,
            epoch=repo.epoch,
            lane="resync",
            outcome=Outcome.FAILED,
            whole=whole,
            cutoff_us=cutoff,
            at_us=time_of(at) + 500_000,
            reason=Reason.DEACTIVATED if moment.status == "deactivated" else Reason.NOT_FOUND,
        )
        if moment.status in ("deactivated", "deleted"):
            self._backfill.append(ending)
        elif moment.status == "active" and self._is_covered(moment.rev, cutoff):
            self._backfill.append(msgspec.structs.replace(ending, outcome=Outcome.UNCHANGED, rev=moment.rev))
        elif moment.status == "active":
            messages = _snapshot(moment, ending, self._choice.randint(1, 3), held=self._known()["held"])
            if not surely and self._choice.random() < 0.2:
                messages[-1] = msgspec.structs.replace(ending, outcome=Outcome.CANCELLED)
            self._backfill += messages

    def _is_covered(self, rev: str, cutoff: int | None) -> bool:
        """Whether repo-backfill would say that nothing has changed."""
        known = self._known()
        if rev == known["floor_rev"]:
            return True
        scope = known["scoped_cutoff"]
        return rev == known["scoped_rev"] and scope is not None and cutoff is not None and scope <= cutoff

    def _known(self) -> asyncpg.Record:
        """What the indexer tells repo-backfill."""
        found = self._tables.run(self._tables.live.fetchrow(SQL["repo_states"], [self._history.did]))
        assert found is not None
        return found

    def _repo(self) -> Any:
        async def locked() -> Any:
            async with self._tables.live.transaction():
                return (await lock_repos(self._tables.live, [self._history.did]))[self._history.did]

        return self._tables.run(locked())


def _snapshot(moment: Moment, ending: SnapshotEnd, size: int, *, held: bool) -> list[BackfillMessage]:
    """``held``: the table had rows of the repo when it was asked, so those outside the scope come along."""
    there = sorted(moment.state)
    scope = {k for k in there if ending.cutoff_us is None or created_at(k, moment.state[k]) >= ending.cutoff_us}
    messages: list[BackfillMessage] = []
    for number, start in enumerate(range(0, len(there), size)):
        part = there[start : start + size]
        outside = [key for key in part if key not in scope]
        messages.append(
            SnapshotBatch(
                did=ending.did,
                rev=moment.rev,
                job=ending.job,
                attempt=1,
                epoch=ending.epoch,
                whole=ending.whole,
                batch=number,
                put=rows_of({key: moment.state[key] for key in part if key in scope}),
                held=rows_of({key: moment.state[key] for key in outside if held}),
                keys=keys(*([] if held else outside)),
            )
        )
    complete = msgspec.structs.replace(
        ending,
        outcome=Outcome.COMPLETE,
        reason=None,
        rev=moment.rev,
        data=root_of(moment.state),
        batches=len(messages),
        records=len(scope),
    )
    return [*messages, complete]


_LANES = ("live", "replay", "backfill")


def _told(lane: str, messages: Sequence[LiveEvent | BackfillMessage]) -> str:
    parts = []
    for message in messages:
        fields = msgspec.structs.asdict(message)
        where = fields.get("seq", "")
        status = fields.get("status") or fields.get("outcome") or ""
        parts.append(f"{type(message).__name__} {where} {fields.get('rev') or ''} {status}")
    return f"{lane}: {'; '.join(parts)}"


async def stored(connection: asyncpg.Connection, did: str) -> State:
    found = await connection.fetch("SELECT collection, rkey, record ->> 'value' AS v FROM record WHERE did = $1", did)
    return {(row["collection"], row["rkey"]): int(row["v"]) for row in found}


_changes = st.dictionaries(st.sampled_from(KEYS), st.booleans(), min_size=1, max_size=2)
_kinds = st.sampled_from(
    ["commit"] * 8 + ["lost"] * 5 + ["refused", "sync", "deactivate", "suspend", "activate", "activate", "delete"]
)


@st.composite
def scenarios(draw: st.DrawFn) -> tuple[list[tuple[str, dict[Key, bool]]], int, int, random.Random]:
    steps = draw(st.lists(st.tuples(_kinds, _changes), min_size=2, max_size=9))
    # The last word is heard, or nobody could know that something is missing.
    last = draw(st.sampled_from(["commit", "commit", "activate"]))
    steps += [(last, draw(_changes)), ("commit", draw(_changes))]
    tail = draw(st.integers(0, len(steps) - 2))
    return steps, tail, draw(st.integers(0, 4)), random.Random(draw(st.integers(0, 2**32)))


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_whatever_happens_to_an_account_the_table_ends_with_its_truth(tables: Tables, scenario: Any) -> None:
    steps, tail, snapshots, choice = scenario
    history = history_of(steps)
    run = Run(tables, history, tail, snapshots, choice)
    run.to_the_end()
    event(f"fetched {run.fetched} times")
    truth = history.moments[-1]
    repo = tables.run(tables.live.fetchrow("SELECT * FROM repo WHERE did = $1", history.did))
    assert repo is not None
    assert repo["status"] == truth.status
    assert not repo["purging"]
    if truth.status == "active":
        assert repo["sync_state"] == "synchronized"
        assert (repo["rev"], repo["data"]) == (truth.rev, root_of(truth.state))
        found = tables.run(stored(tables.live, history.did))
        if repo["floor_rev"] is None and repo["scoped_rev"] is not None:
            # Outside the scope: it may be there or not, but never as it is not any more.
            found |= {key: value for key, value in truth.state.items() if key in OLD and key not in found}
        assert found == truth.state, "\n".join([str(steps), *run.course])
    elif truth.status == "deleted":
        assert tables.run(stored(tables.live, history.did)) == {}
