"""Closing gaps: the repos that changed since are fetched, and accounts that went or came back in them are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backfill_rig import running, settings_for
from firehose_backfill import statuses
from headwater.bus.firehose import Gap, GapKind, GapState
from headwater.bus.messages import LiveAccount, LiveEvent, decode_live
from headwater.bus.queries import RepoState
from headwater.bus.streams import STREAM_LIVE
from headwater.bus.subjects import RequestLane
from headwater.clock import DAY_US, now_us
from history_rig import HistoryRig, ask, dids, half_old_world, history_rig
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


@pytest.fixture
async def gap(history: HistoryRig) -> Gap:
    """A gap of a day that nobody has closed; no history is wanted."""
    await ask(history, 0)
    now = now_us()
    gap = Gap(
        gap_id="g1",
        kind=GapKind.OUTDATED_CURSOR,
        state=GapState.OPEN,
        relay="r",
        worker_id=0,
        from_us=now - DAY_US,
        found_at_us=now,
    )
    await history.store.put_gap(gap)
    await history.live_tail_began()
    return gap


async def test_a_gap_is_closed_by_the_repos_that_changed_since(
    history: HistoryRig, world: World, gap: Gap, nats_url: str, tmp_path: Path
) -> None:
    """The one that the table holds whole is fetched whole: its floor says so, not the gap."""
    whole = world.accounts[3]
    history.bus.indexer.states[whole.did] = RepoState(did=whole.did, held=True, floor_rev="2222222222222")
    async with history.working():
        await until(lambda: _waits(history, 2))
        filed = await history.filed()
        assert filed.keys() == dids(*world.accounts[3:5]), "a gap is of what the relay tells"
        for request in filed.values():
            assert (request.lane, request.requested_by) == (RequestLane.RESYNC, "system")
            assert request.cutoff_us is not None
            assert request.cutoff_us <= gap.from_us
        (open_gap,) = await history.store.gaps()
        assert open_gap.state is GapState.CLOSING
        async with running(settings_for(nats_url, world.plc.url, tmp_path)):
            await until(lambda: _closed(history))
    assert history.bus.seen(filed[whole.did].job_id).rows().keys() == whole.expected().keys()


async def test_what_a_gap_hid_of_accounts_is_told(
    history: HistoryRig, world: World, gap: Gap, nats_url: str, tmp_path: Path
) -> None:
    """Who left, came back, was deleted with and without a tombstone; who is only not in the list is left alone."""
    left, returned, deleted, away, tombstoned, unlisted = world.accounts
    for account in world.accounts:
        history.table.has(account.did)
    history.table.has(returned.did, "deactivated")
    history.table.has(away.did, "taken_down")
    left.status, away.status, deleted.status = "deactivated", "takendown", "deleted"
    tombstoned.tombstone()
    async with history.working(), running(settings_for(nats_url, world.plc.url, tmp_path)):
        await until(lambda: _closed(history))
    told = {event.did: (event.active, event.status) for event in await _accounts_told(history)}
    assert told == {
        left.did: (False, "deactivated"),
        returned.did: (True, None),
        deleted.did: (False, "deleted"),
        tombstoned.did: (False, "deleted"),
    }
    assert unlisted.status == "active"


async def test_what_a_host_does_not_say_deletes_nothing(
    history: HistoryRig, world: World, gap: Gap, nats_url: str, tmp_path: Path
) -> None:
    """The relay knows an account no more, and its own PDS does not answer, or has it still."""
    silent, there = world.accounts[3], world.accounts[4]
    for account in (silent, there):
        history.table.has(account.did)
        world.relay.unseen.add(account.did)
    await silent.host.stop()
    async with history.working(), running(settings_for(nats_url, world.plc.url, tmp_path)):
        await until(lambda: _closed(history))
    assert await _accounts_told(history) == []
    await silent.host.start()


async def test_a_list_that_lacks_too_many_says_nothing_of_who_is_not_in_it(
    history: HistoryRig, world: World, gap: Gap, nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statuses, "SPARE_MISSING", 2)
    for account in world.accounts[:3]:
        history.table.has(account.did)
        account.status = "deleted"
    async with history.working(), running(settings_for(nats_url, world.plc.url, tmp_path)):
        await until(lambda: _closed(history))
    assert await _accounts_told(history) == []


async def _accounts_told(history: HistoryRig) -> list[LiveAccount]:
    js, found = history.bus.js, list[LiveEvent]()
    state = (await js.stream_info(STREAM_LIVE)).state
    for seq in range(state.first_seq, state.last_seq + 1) if state.messages else ():
        found += decode_live((await js.get_msg(STREAM_LIVE, seq)).data or b"").events
    return [event for event in found if isinstance(event, LiveAccount)]


async def test_who_is_not_followed_is_not_fetched(history: HistoryRig, world: World, gap: Gap) -> None:
    """TRACK counts in a gap as it does in the live tail, and so does EXCLUDE_DIDS."""
    history.table.follows_all = False
    history.table.has(world.accounts[3].did)
    history.table.has(world.accounts[4].did, followed=False)
    async with history.working():
        await until(lambda: _waits(history, 1))
    assert (await history.filed()).keys() == dids(world.accounts[3])


async def test_who_is_excluded_is_left_alone_in_a_gap(
    history: HistoryRig, world: World, gap: Gap, nats_url: str, tmp_path: Path
) -> None:
    changed, away = world.accounts[3], world.accounts[0]
    history.table.has(away.did)
    away.status = "deactivated"
    async with history.working(excluded=dids(changed, away)), running(settings_for(nats_url, world.plc.url, tmp_path)):
        await until(lambda: _closed(history))
    crawl = await history.store.crawl(of_gaps=True)
    assert crawl is not None
    assert crawl.filed == 1
    assert await _accounts_told(history) == []


async def _waits(history: HistoryRig, number: int) -> bool:
    return await history.bus.waiting_requests() == number


async def _closed(history: HistoryRig) -> bool:
    return [gap.state for gap in await history.store.gaps()] == [GapState.CLOSED]
