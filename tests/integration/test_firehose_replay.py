"""The replay of a relay's window: from the cutoff on, on its own lane, in its own place; and what it leaves to the
crawl."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from firehose_backfill.cursor import Cursor, relay_token
from firehose_rig import Bus, bus, following, settings_for
from headwater.bus.firehose import FirehosePlan, LiveProgress, PieceState, ReplayProgress, live_key, new_plan
from headwater.bus.firehose_store import FirehoseStore
from headwater.bus.messages import LiveCommit, decode_live
from headwater.bus.streams import BUCKET_CONTROL, BUCKET_CURSORS, BUCKET_FIREHOSE, STREAM_LIVE, STREAM_REPLAY
from headwater.clock import now_us
from history_rig import TableStandIn
from simulator.world import World
from waiting import until

DAY = 86_400.0
OLD, NEW = 300, 40


class Past:
    """A world with posts of ten days ago and of today, and the replay lane of the bus beside it."""

    def __init__(self, world: World, bus: Bus, store: FirehoseStore) -> None:
        self.world = world
        self.bus = bus
        self.store = store

    async def replayed(self) -> list[int]:
        """The seqs in the replay lane, each once, in their order."""
        state = (await self.bus.js.stream_info(STREAM_REPLAY)).state
        seqs: set[int] = set()
        for seq in range(max(state.first_seq, 1), state.last_seq + 1):
            batch = decode_live((await self.bus.js.get_msg(STREAM_REPLAY, seq)).data or b"")
            seqs |= {event.seq for event in batch.events if isinstance(event, LiveCommit)}
        return sorted(seqs)

    async def plan(self, days: int) -> FirehosePlan:
        _, revision = await self.store.plan()
        plan = new_plan(days, now_us(), "operator")
        assert await self.store.change_plan(plan, revision)
        return plan

    async def place(self, plan: FirehosePlan, seq: int, at_us: int) -> None:
        """A replay that had come so far when its process died."""
        name = self.world.relay.url.removeprefix("http://")
        cursors = await self.bus.js.key_value(BUCKET_CURSORS)
        cursor = Cursor(seq=seq, at_us=at_us, saved_at_us=now_us())
        await cursors.put(f"replay.{relay_token(name)}.{plan.plan_id}", cursor.model_dump_json().encode())
        await self.store.put_replay(
            ReplayProgress(
                plan_id=plan.plan_id, state=PieceState.RUNNING, relay=name, to_seq=self.last_seq, reaches_cutoff=True
            )
        )

    @property
    def last_seq(self) -> int:
        return self.world.relay.stream.last_seq

    async def has_reached(self, seq: int) -> bool:
        replay = await self.store.replay()
        return replay is not None and replay.seq is not None and replay.seq >= seq

    async def live_began(self) -> bool:
        return any(tail.started_seq is not None for tail in await self.store.live())


@contextmanager
def posts() -> Iterator[World]:
    world = World(seed=78, now_us=int((time.time() - 10 * DAY) * 1_000_000))
    account = world.add_account()
    for number in range(OLD):
        account.post(f"old {number}")
    world.clock.advance(9.5 * DAY)
    for number in range(NEW):
        account.post(f"new {number}")
    yield world


@pytest.fixture
async def past(nats_url: str) -> AsyncIterator[Past]:
    with posts() as world:
        async with world, bus(nats_url) as connected:
            js = connected.js
            store = FirehoseStore(await js.key_value(BUCKET_CONTROL), await js.key_value(BUCKET_FIREHOSE))
            await TableStandIn().start(connected.client)
            yield Past(world, connected, store)


async def test_the_window_is_read_from_the_cutoff_to_where_the_live_tail_began(past: Past, nats_url: str) -> None:
    first_new = past.last_seq - NEW + 1
    async with following(settings_for(nats_url, past.world.plc.url, past.world.relay.url)):
        past.world.accounts[0].post("live")
        live = past.last_seq
        await until(past.live_began)
        await past.plan(2)
        await until(lambda: past.has_reached(live))
        replay = await past.store.replay()
        assert replay is not None
        assert (replay.reaches_cutoff, replay.to_seq, replay.state) == (True, live, PieceState.RUNNING)
        seqs = await past.replayed()
        assert seqs[-NEW - 1 :] == list(range(first_new, live + 1)), "nothing is missing"
        assert seqs[0] > first_new - OLD, "what is much older is left alone"
        crawl = await past.store.crawl()
        assert crawl is None or not crawl.filed
        await past.bus.js.purge_stream(STREAM_REPLAY)  # as the indexer would
        await until(lambda: _done(past))
        crawl = await past.store.crawl()
        assert crawl is not None
        assert (crawl.state, crawl.filed) == (PieceState.DONE, 0)
        live_lane = await past.bus.events()
        assert [event.seq for event in live_lane] == [live], "the lanes are apart"


async def _done(past: Past) -> bool:
    replay = await past.store.replay()
    crawl = await past.store.crawl()
    return bool(replay and crawl and replay.state is PieceState.DONE and crawl.state is PieceState.DONE)


async def test_it_goes_on_where_it_was(past: Past, nats_url: str) -> None:
    plan = await past.plan(30)
    at = past.last_seq - NEW
    entry = next(one for one in past.world.relay.stream.read(0, OLD + NEW)[1] if one.seq == at)
    await past.place(plan, at, entry.time_us // 1000 * 1000)  # frames tell milliseconds
    await (await past.bus.js.key_value(BUCKET_CONTROL)).put("firehose-backfill.environment", b"0")
    async with following(settings_for(nats_url, past.world.plc.url, past.world.relay.url)):
        await until(lambda: past.has_reached(past.last_seq))
        seqs = await past.replayed()
        assert seqs[-NEW:] == list(range(at + 1, past.last_seq + 1))
        assert seqs[0] > 1, "what was safe already is not read again, but for a margin"
        replay = await past.store.replay()
        assert replay is not None
        assert replay.reaches_cutoff, "nothing was lost meanwhile"


async def test_what_the_window_has_lost_is_left_to_the_crawl(past: Past, nats_url: str) -> None:
    plan = await past.plan(30)
    await past.place(plan, 5, now_us())
    past.world.relay.stream.keep_events = NEW
    past.world.relay.stream.says_outdated = False
    await (await past.bus.js.key_value(BUCKET_CONTROL)).put("firehose-backfill.environment", b"0")
    async with following(settings_for(nats_url, past.world.plc.url, past.world.relay.url)):
        await until(lambda: past.has_reached(past.last_seq))
        replay = await past.store.replay()
        assert replay is not None
        assert replay.reaches_cutoff is False
        await until(lambda: _filed(past))
    assert len(await past.replayed()) == NEW
    assert (await past.bus.js.stream_info(STREAM_LIVE)).state.messages == 0


async def test_a_connection_that_breaks_and_a_relay_that_counts_anew_end_nothing(past: Past, nats_url: str) -> None:
    """Another time at the same seq: the seqs are new ones. Nothing is read twice then, the crawl brings it all."""
    plan = await past.plan(30)
    await past.place(plan, past.last_seq - NEW, 5_000_000)
    await (await past.bus.js.key_value(BUCKET_CONTROL)).put("firehose-backfill.environment", b"0")
    async with following(settings_for(nats_url, past.world.plc.url, past.world.relay.url)):
        await until(lambda: past.has_reached(past.last_seq))
        past.world.relay.stream.disconnect()
        await until(lambda: _filed(past))
    replay = await past.store.replay()
    assert replay is not None
    assert replay.reaches_cutoff is False


async def test_an_end_in_seqs_that_are_no_more_is_not_waited_for(past: Past, nats_url: str) -> None:
    """The former live tail told of seqs that the relay has lost since, and the relay is never quiet."""
    await past.plan(2)
    control, told = await past.bus.js.key_value(BUCKET_CONTROL), await past.bus.js.key_value(BUCKET_FIREHOSE)
    await control.put("firehose-backfill.environment", b"0")
    name = past.world.relay.url.removeprefix("http://")
    former = LiveProgress(worker_id=0, worker_count=1, relay=name, connected=True, started_seq=1_000_000)
    await told.put(live_key(0), former.model_dump_json().encode())

    async def is_done_meanwhile() -> bool:
        past.world.clock.now_us = max(past.world.clock.now_us, now_us() + 120_000_000)
        past.world.accounts[0].post("live")
        await past.bus.js.purge_stream(STREAM_REPLAY)  # as the indexer would
        return await _done(past)

    async with following(settings_for(nats_url, past.world.plc.url, past.world.relay.url)):
        await until(is_done_meanwhile, pause=0.3)
    replay = await past.store.replay()
    assert replay is not None
    assert (replay.to_seq, replay.reaches_cutoff) == (1_000_000, True)


async def test_what_cannot_be_read_is_passed_over_and_left_to_the_crawl(past: Past, nats_url: str) -> None:
    stream, account = past.world.relay.stream, past.world.accounts[0]
    stream.tamper("enormous", account.did)
    account.post("in a message that nobody can read")
    lost = past.last_seq
    for number in range(20):
        account.post(f"behind it {number}")
    async with following(settings_for(nats_url, past.world.plc.url, past.world.relay.url)):
        account.post("live")
        await until(past.live_began)
        await past.plan(2)
        await until(lambda: past.has_reached(past.last_seq))
        await until(lambda: _filed(past))
        replay = await past.store.replay()
    assert replay is not None
    assert replay.reaches_cutoff is False
    seqs = await past.replayed()
    assert lost not in seqs
    assert set(seqs) >= set(range(lost - NEW, past.last_seq)) - {lost}, "all else is read"


async def _filed(past: Past) -> bool:
    crawl = await past.store.crawl()
    return crawl is not None and crawl.filed == 1
