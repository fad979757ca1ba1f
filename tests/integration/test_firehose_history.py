"""The crawl of everybody's repos: what is filed and what is not, that it goes on where it was, and when it is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from backfill_rig import running, settings_for
from firehose_backfill.table import Table
from headwater.bus.firehose import (
    CrawlProgress,
    FirehosePlan,
    PieceState,
    history_state,
)
from headwater.bus.firehose_store import FirehoseStore
from headwater.bus.queries import Standings
from headwater.bus.subjects import RequestLane
from headwater.errors import TransientError
from history_rig import HistoryRig, ask, dids, half_old_world, history_rig
from simulator import Answer
from simulator.world import World
from waiting import until


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with half_old_world() as world:
        yield world


@pytest.fixture
async def history(nats_url: str, world: World) -> AsyncIterator[HistoryRig]:
    async with history_rig(nats_url, world) as rig:
        yield rig


async def crawl_of(history: HistoryRig, plan_id: str) -> CrawlProgress | None:
    crawl = await history.store.crawl()
    return crawl if crawl is not None and crawl.plan_id == plan_id else None


async def is_done(history: HistoryRig) -> bool:
    plan, _ = await history.store.plan()
    state = history_state(plan, await history.store.replay(), await history.store.crawl())
    return state is PieceState.DONE


async def test_repos_that_may_hold_what_is_wanted_are_filed_with_the_cutoff(history: HistoryRig, world: World) -> None:
    plan_id = await ask(history, 7)
    world.accounts[4].status = "deactivated"
    async with history.working():
        assert await history.filed() == {}, "the live tail comes first"
        await history.live_tail_began()
        await until(lambda: _all_filed(history, plan_id))
    filed = await history.filed()
    assert filed.keys() == dids(world.accounts[3], world.accounts[5]), "also what only its own host lists"
    plan, _ = await history.store.plan()
    assert plan is not None
    for request in filed.values():
        assert (request.lane, request.cutoff_us) == (RequestLane.CRAWL, plan.cutoff_us)
        assert (request.requested_by, request.days) == ("system", 7)
    crawl = await crawl_of(history, plan_id)
    assert crawl is not None
    assert (crawl.filed, crawl.hosts_total, crawl.hosts_failed) == (2, 3, 0)


async def _all_filed(history: HistoryRig, plan_id: str) -> bool:
    crawl = await crawl_of(history, plan_id)
    return crawl is not None and crawl.stage.value == "ending"


async def test_everything_is_every_active_repo_but_the_excluded_ones(history: HistoryRig, world: World) -> None:
    plan_id = await ask(history, -1)
    await history.live_tail_began()
    async with history.working(excluded=dids(world.accounts[0])):
        await until(lambda: _all_filed(history, plan_id))
    filed = await history.filed()
    assert filed.keys() == dids(*world.accounts[1:])
    assert all(request.cutoff_us is None for request in filed.values())


async def test_the_end_is_told_when_all_requests_have_ended_and_stays_so(
    history: HistoryRig, world: World, nats_url: str, tmp_path: Path
) -> None:
    plan_id = await ask(history, -1)
    await history.live_tail_began()
    listed = world.accounts[1]
    async with history.working():
        await until(lambda: _all_filed(history, plan_id))
        assert not await is_done(history), "nobody has fetched anything"
        listed.status = "deactivated"
        async with running(settings_for(nats_url, world.plc.url, tmp_path)):
            await until(lambda: is_done(history))
    crawl = await crawl_of(history, plan_id)
    assert crawl is not None
    assert (crawl.filed, crawl.gone, crawl.failed, crawl.waiting) == (6, 1, 0, 0)
    async with history.working():
        await until(lambda: is_done(history))
    assert await history.filed() == {}, "what is done is not begun again"


async def test_no_list_is_begun_anew_by_who_dies_behind_its_end(
    history: HistoryRig, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is filed twice is counted twice: the end of a list is written down with what its last page has brought."""
    saved, put_crawl = list[CrawlProgress](), FirehoseStore.put_crawl

    async def noted(store: FirehoseStore, progress: CrawlProgress) -> None:
        saved.append(progress)
        await put_crawl(store, progress)

    monkeypatch.setattr(FirehoseStore, "put_crawl", noted)
    plan_id = await ask(history, -1)
    await history.live_tail_began()
    async with history.working():
        await until(lambda: _all_filed(history, plan_id))
    assert {(one.stage.value, one.filed) for one in saved if one.cursor is None} == {
        ("relay", 0),
        ("hosts", 5),
        ("ending", 6),
    }


async def test_a_bounded_number_waits(history: HistoryRig, world: World, nats_url: str, tmp_path: Path) -> None:
    for index in range(70):
        world.add_account(f"more{index}.sim.test").create("app.bsky.feed.post", {"text": "x"})
    await ask(history, -1)
    await history.live_tail_began()
    async with history.working(max_waiting=40):
        await until(lambda: _some_wait(history))
        assert await history.bus.waiting_requests() == 40
        async with running(settings_for(nats_url, world.plc.url, tmp_path)):
            await until(lambda: is_done(history))
    crawl = await history.store.crawl()
    assert crawl is not None
    assert crawl.filed == 76


async def _some_wait(history: HistoryRig) -> bool:
    crawl = await history.store.crawl()
    return crawl is not None and crawl.waiting > 0


async def test_a_pause_stops_it_and_a_restart_goes_on(history: HistoryRig, world: World) -> None:
    plan_id = await ask(history, -1)
    plan, revision = await history.store.plan()
    assert plan is not None
    await history.live_tail_began()
    async with history.working():
        await until(lambda: _all_filed(history, plan_id))
        paused = plan.model_copy(update={"paused": True})
        assert await history.store.change_plan(paused, revision)
        await until(lambda: _is(history, PieceState.PAUSED))
    async with history.working():
        _, revision = await history.store.plan()
        assert await history.store.change_plan(plan, revision)
        await until(lambda: _is(history, PieceState.RUNNING))
    assert (await history.filed()).keys() == dids(*world.accounts)


async def _is(history: HistoryRig, state: PieceState) -> bool:
    crawl = await history.store.crawl()
    return crawl is not None and crawl.state is state


async def test_every_change_of_the_plan_is_followed(history: HistoryRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the bus is asked when a plan is given up, the next one begins."""
    monkeypatch.setattr("firehose_backfill.history._LOOK_SECONDS", 0.02)
    monkeypatch.setattr("firehose_backfill.gap_closing._LOOK_SECONDS", 0.004)
    await history.live_tail_began()
    async with history.working():
        for turn in range(40):
            await ask(history, 0)
            await asyncio.sleep(0.05 + turn / 1000)
            plan_id = await ask(history, 7)
            await until(lambda plan_id=plan_id: _replays(history, plan_id), seconds=30)  # type: ignore[misc]


async def _replays(history: HistoryRig, plan_id: str) -> bool:
    replay = await history.store.replay()
    return replay is not None and replay.plan_id == plan_id


async def test_it_is_told_whose_live_tail_is_waited_for(history: HistoryRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firehose_backfill.history._PATIENT_SECONDS", 0.0)
    plan_id = await ask(history, 7)
    async with history.working():
        await until(lambda: _replay_says(history, "no live tail of worker 0 yet"))
        await history.live_tail_began(0, worker_count=3)
        await until(lambda: _replay_says(history, "no live tail of worker 1, 2 yet"))
        await history.live_tail_began(2, worker_count=3)
        await until(lambda: _replay_says(history, "no live tail of worker 1 yet"))
        assert await crawl_of(history, plan_id) is None
        await history.live_tail_began(1, worker_count=3)
        await until(lambda: _all_filed(history, plan_id))


async def test_it_is_told_why_a_piece_waits_until_it_goes_on(
    history: HistoryRig, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await history.live_tail_began()
    await world.relay.stop()
    plan_id = await ask(history, -1)

    async def no_relay(plan: FirehosePlan) -> None:
        raise TransientError("the relay is away")

    with monkeypatch.context() as patch:
        patch.setattr(history.replay, "run", no_relay)
        async with history.working():
            await until(lambda: _replay_says(history, "waits: the relay is away"))
            await until(lambda: _crawl_says(history, "waits: "))
    await world.relay.start()
    async with history.working():
        await until(lambda: _all_filed(history, plan_id))
    crawl = await crawl_of(history, plan_id)
    assert crawl is not None
    assert crawl.detail is None


async def _replay_says(history: HistoryRig, detail: str) -> bool:
    replay = await history.store.replay()
    return replay is not None and replay.detail == detail


async def _crawl_says(history: HistoryRig, beginning: str) -> bool:
    crawl = await history.store.crawl()
    return crawl is not None and (crawl.detail or "").startswith(beginning)


@pytest.mark.parametrize("status", [400, 503])
async def test_a_relay_that_does_not_list_is_left_for_the_next_one(
    history: HistoryRig, world: World, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Also where it tells of its hosts as ever."""
    monkeypatch.setattr("firehose_backfill.crawl.RELAY_TRIES", 1)
    world.relay.faults.add(Answer(path="listRepos", status=status, times=None))
    plan_id = await ask(history, -1)
    await history.live_tail_began()
    second = world.add_relay()
    await second.start()
    async with history.working(relays=[world.relay.url, second.url]):
        await until(lambda: _all_filed(history, plan_id))
    await second.stop()
    assert (await history.filed()).keys() == dids(*world.accounts)


async def test_no_host_is_left_out_because_the_indexer_was_away(
    history: HistoryRig, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await history.live_tail_began()
    hidden, standings, away = world.accounts[5].did, Table.standings, list[str]()

    async def away_at_first(table: Table, dids: Sequence[str]) -> Standings:
        if hidden in dids and not away:
            away.append(hidden)
            raise TransientError("no indexer answers")
        return await standings(table, dids)

    monkeypatch.setattr(Table, "standings", away_at_first)
    plan_id = await ask(history, -1)
    async with history.working():
        await until(lambda: _all_filed(history, plan_id))
    assert (await history.filed()).keys() == dids(*world.accounts)
    crawl = await crawl_of(history, plan_id)
    assert crawl is not None
    assert crawl.hosts_failed == 0


async def test_no_crawl_is_needed_where_the_window_reaches_the_cutoff(history: HistoryRig) -> None:
    history.replay.reaches_cutoff = True
    await ask(history, 1)
    await history.live_tail_began()
    async with history.working():
        await until(lambda: is_done(history))
    crawl = await history.store.crawl()
    assert crawl is not None
    assert (crawl.filed, crawl.detail) == (0, "not needed: the relay's window reaches back to the cutoff")


@pytest.mark.parametrize("days", [-1, 7])
async def test_the_history_of_who_is_not_followed_is_not_fetched(history: HistoryRig, world: World, days: int) -> None:
    history.table.follows_all = False
    history.table.has(world.accounts[3].did)
    history.table.has(world.accounts[4].did, followed=False)
    plan_id = await ask(history, days)
    await history.live_tail_began()
    async with history.working():
        await until(lambda: _all_filed(history, plan_id))
    assert (await history.filed()).keys() == dids(world.accounts[3])
