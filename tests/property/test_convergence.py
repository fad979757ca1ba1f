"""Writes converge: live commits and snapshots, in any order and grouping, repeated, interrupted, side by side.

A drawn history of one repo is the truth. Live commits (all of them, or those after some commit, as when a tail was
begun late) and the messages of several snapshots are delivered by a drawn schedule (``convergence_rig``). What the
table holds at the end is compared with the truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings

from convergence_rig import KEYS, Run, Snapshot, State, Tables, World, open_tables, scenarios, stored, world_of
from indexer.live import write_events


@pytest.fixture(scope="module")
def tables(postgres_dsn: str) -> Iterator[Tables]:
    with open_tables(postgres_dsn, "convergence") as opened:
        yield opened


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_every_live_commit_delivered_makes_the_table_the_truth(tables: Tables, scenario: Any) -> None:
    history, snapshots, _, choice = scenario
    world = world_of(history)
    Run(tables, world, snapshots, 0, choice).to_the_end()
    event(f"{len(world.done)} of {len(snapshots)} snapshots swept")
    assert tables.run(stored(tables.live, world.did)) == world.truth[-1]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_a_snapshot_and_the_live_tail_after_it_make_its_scope_the_truth(tables: Tables, scenario: Any) -> None:
    history, snapshots, tail, choice = scenario
    world = world_of(history)
    Run(tables, world, snapshots, tail, choice).to_the_end()
    reaching = [(snapshot, at) for snapshot, at in world.done if at >= tail]
    event(f"a snapshot reaches the tail: {bool(reaching)}")
    if reaching:
        check(world, reaching, tail, tables.run(stored(tables.live, world.did)))


def check(world: World, reaching: list[tuple[Snapshot, int]], tail: int, table: State) -> None:
    """What must hold once a snapshot at or after the beginning of the live tail was swept."""
    truth = world.truth[-1]
    for key in KEYS:
        touched = any(world.truth[i].get(key) != world.truth[i + 1].get(key) for i in range(tail, len(world.commits)))
        in_scope = any(key in snapshot.scope(world.truth[at]) for snapshot, at in reaching)
        if touched or in_scope or any(snapshot.whole for snapshot, _ in reaching):
            assert table.get(key) == truth.get(key), f"{key} is not the truth"
        else:
            # Outside every scope: it may be there or not, but never as it is not any more.
            assert table.get(key) in (None, truth.get(key)), f"{key} is stale"


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_nothing_is_left_behind_and_other_repos_are_untouched(tables: Tables, scenario: Any) -> None:
    history, snapshots, tail, choice = scenario
    world, other = world_of(history), world_of([{KEYS[0]: 1, KEYS[2]: 2}])
    tables.run(write_events(tables.live, other.commits))
    Run(tables, world, snapshots, tail, choice).to_the_end()
    assert tables.run(stored(tables.live, other.did)) == other.truth[-1]
    repo = tables.run(tables.live.fetchrow("SELECT * FROM repo WHERE did = $1", world.did))
    if repo is None or repo["snapshot_job"] is None:
        left = "SELECT count(*) FROM deferred_commit WHERE did = $1"
        assert tables.run(tables.live.fetchval(left, world.did)) == 0
    ended = (
        "SELECT count(*) FROM snapshot_batch JOIN backfill_job USING (job_id) WHERE did = $1 AND state <> 'indexing'"
    )
    assert tables.run(tables.live.fetchval(ended, world.did)) == 0
