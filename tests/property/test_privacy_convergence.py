"""Writes converge, whatever the account decides about its data in between.

The histories, snapshots and schedules are those of ``test_convergence``. While they are delivered the account opts out
and in again, keeps collections out and lets them in, deletes all it has, and rows are purged step by step, each in a
transaction of its own beside the writers'. In the end it lets itself be indexed, and one more snapshot is taken.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from convergence_rig import KEYS, Run, Snapshot, State, Tables, World, open_tables, scenarios, stored, world_of
from headwater.bus.messages import Outcome
from headwater.bus.queries import ChangePrivacy
from indexer.live import write_events
from indexer.privacy import write_change
from indexer.purge import purge_some, purge_some_of_collection

OUT, IN, DELETE = "out", "in", "delete"
COLLECTIONS = tuple(collection for collection, _ in KEYS)


@pytest.fixture(scope="module")
def tables(postgres_dsn: str) -> Iterator[Tables]:
    with open_tables(postgres_dsn, "privacy_convergence") as opened:
        yield opened


class DecidingRun(Run):
    """Delivers as ``Run``, and carries out the account's decisions in order, at drawn moments beside the writers."""

    def __init__(
        self,
        tables: Tables,
        world: World,
        snapshots: list[Snapshot],
        decisions: list[str],
        choice: random.Random,
    ) -> None:
        super().__init__(tables, world, snapshots, 0, choice)
        self._account = tables.account
        self._decisions = list(decisions)
        self.deleted = False

    def decide_the_rest(self) -> None:
        while self._decisions:
            self._tables.run(self._decide())
        self._tables.run(self.purge())

    def let_in(self, *collections: str) -> None:
        """What makes the account whole again."""
        self._decisions = [IN, *(f"include {name}" for name in collections)]
        self.decide_the_rest()

    def redeliver(self, snapshot: Snapshot) -> None:
        """One more snapshot, and then some of the live commits again."""
        self._snapshots.append(snapshot)
        self.to_the_end()
        for commit in self._world.commits:
            if self._choice.random() < 0.5:
                self._tables.run(write_events(self._tables.live, [commit]))

    async def purge(self, steps: int = 1_000) -> None:
        for _ in range(steps):
            if not (await purge_some(self._account, 1) or await purge_some_of_collection(self._account, 1)):
                return

    async def _deliver(self, *messages: Any) -> None:
        before, rows = await self._wishes(), await stored(self._account, self._world.did)
        await super()._deliver(*messages)
        after, left = await self._wishes(), await stored(self._account, self._world.did)
        # One decision at most is made meanwhile: what was wished before and after was wished all the time.
        for key, value in left.items():
            unwanted = "*" in before & after or key[0] in before & after
            assert not unwanted or rows.get(key) == value, f"{key} was written against the account's will"

    async def _wishes(self) -> frozenset[str]:
        found = await self._account.fetchrow("SELECT opted_out, excluded FROM repo WHERE did = $1", self._world.did)
        if found is None:
            return frozenset()
        return frozenset(found["excluded"]) | ({"*"} if found["opted_out"] else set())

    async def _happens_beside(self) -> None:
        chance = self._choice.random()
        if self._decisions and chance < 0.4:
            await self._decide()
        elif chance < 0.7:
            await self.purge(1)

    async def _decide(self) -> None:
        decision = self._decisions[0]
        # A job that has come to the bus since it was looked at is not known.
        running = {job: snapshot.attempts for job, (snapshot, _) in self._world.jobs.items()}
        known = {job: attempt for job, attempt in running.items() if self._choice.random() < 0.7}
        refused, _ = await write_change(self._account, _change(self._world.did, decision), known)
        if refused is not None:
            assert refused == "deletion_running"
            await self.purge(self._choice.randint(1, 3))
            return
        self._decisions.pop(0)
        self.deleted = decision == DELETE or (self.deleted and decision != IN)


def _change(did: str, decision: str) -> ChangePrivacy:
    if decision == DELETE:
        return ChangePrivacy(did=did, delete=True)
    if decision in (OUT, IN):
        return ChangePrivacy(did=did, opted_out=decision == OUT)
    kind, collection = decision.split()
    return ChangePrivacy(did=did, collection=collection, excluded=kind == "exclude")


decisions = st.lists(
    st.sampled_from(
        [OUT, IN, OUT, IN, DELETE, *(f"{kind} {name}" for kind in ("exclude", "include") for name in COLLECTIONS[:2])]
    ),
    min_size=1,
    max_size=5,
)
last_cutoff = st.one_of(st.none(), st.integers(0, 1))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios(), decisions, last_cutoff, st.sets(st.sampled_from(COLLECTIONS[:2])))
def test_after_any_decisions_one_more_snapshot_makes_the_table_the_truth(
    tables: Tables,
    scenario: Any,
    decisions: list[str],
    cutoff: int | None,
    let_in: set[str],
) -> None:
    history, snapshots, _, choice = scenario
    world = world_of(history)
    run = DecidingRun(tables, world, snapshots, decisions, choice)
    run.to_the_end()
    run.decide_the_rest()
    event(f"deleted: {run.deleted}")
    if run.deleted:
        assert tables.run(stored(tables.account, world.did)) == {}
    run.let_in(*sorted(let_in))
    last = Snapshot(at=len(history), cutoff=cutoff, ending=Outcome.COMPLETE, size=2, attempts=1, at_again=-1)
    run.redeliver(last)
    assert (last, len(history)) in world.done, "the account lets itself be indexed, and nothing comes"
    excluded = tables.run(tables.account.fetchval("SELECT excluded FROM repo WHERE did = $1", world.did))
    check(world.truth[-1], last, frozenset(excluded), tables.run(stored(tables.account, world.did)))


def check(truth: State, last: Snapshot, excluded: frozenset[str], table: State) -> None:
    scope = last.scope(truth)
    for key in KEYS:
        if key[0] in excluded:
            assert key not in table, f"{key} is there against the account's will"
        elif key in scope:
            assert table.get(key) == truth[key], f"{key} is not the truth"
        else:
            # Outside the scope: it may be there or not, but never as it is not any more.
            assert table.get(key) in (None, truth.get(key)), f"{key} is stale"
