"""The live tail when the network misbehaves: gaps, hostile frames, a full bus, a directory that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from firehose_rig import Bus, bus, connected, following, resize_live_stream, revs, settings_for
from headwater.bus.firehose import GapKind
from headwater.bus.messages import LiveBroken, LiveEvent
from headwater.bus.streams import STREAM_DEAD_LETTERS
from headwater.errors import Reason
from naive_firehose import Account, message
from relay_stub import relay_stub
from shared_inputs import INPUTS, needs_inputs
from simulator import World
from simulator.account import Account as Simulated
from simulator.events import Committed
from waiting import until

_LARGE_POSTS = 400


def _commits(account: Simulated, number: int) -> Callable[[list[LiveEvent]], bool]:
    return lambda found: len(revs(found, account.did)) == number


async def _one_post(there: Bus, world: World, alice: Simulated) -> None:
    async with following(settings_for(there.url, world.plc.url, world.relay.url)):
        alice.post("seen")
        await there.until(_commits(alice, 1))


@pytest.mark.parametrize("said", [True, False])
async def test_a_window_that_was_left_behind_is_a_gap(nats_url: str, said: bool) -> None:
    async with World(seed=51) as world, bus(nats_url) as there:
        alice = world.add_account()
        world.relay.stream.says_outdated = said
        world.relay.stream.jump(5_000)
        await _one_post(there, world, alice)
        last = world.relay.stream.last_seq
        for _ in range(4):
            alice.post("missed")
        alice.post("in the window")
        world.relay.stream.keep_events = 1
        async with following(settings_for(nats_url, world.plc.url, world.relay.url)):
            await there.until(_commits(alice, 2))
        (gap,) = await there.gaps()
        assert gap.kind is (GapKind.OUTDATED_CURSOR if said else GapKind.SEQ_JUMP)
        assert (gap.from_seq, gap.to_seq) == (last, world.relay.stream.last_seq)


async def test_skipped_seqs_and_quiet_are_no_gap(nats_url: str) -> None:
    async with World(seed=52) as world, bus(nats_url) as there:
        alice = world.add_account()
        await _one_post(there, world, alice)
        world.relay.stream.jump(100_000)
        world.clock.now_us += 5 * 3_600_000_000
        alice.post("the next day")
        async with following(settings_for(nats_url, world.plc.url, world.relay.url)):
            await there.until(_commits(alice, 2))
        assert await there.gaps() == []


@pytest.mark.parametrize("said", [True, False])
async def test_a_relay_that_counts_anew_is_a_gap_and_is_followed(nats_url: str, said: bool) -> None:
    async with World(seed=53) as world, bus(nats_url) as there:
        alice = world.add_account()
        world.relay.stream.jump(5_000)
        world.relay.stream.says_future = said
        await _one_post(there, world, alice)
        world.relay.stream.restart()
        async with following(settings_for(nats_url, world.plc.url, world.relay.url)) as tail:
            while tail.connection is None or tail.connection.last is None:
                await connected(tail)
                alice.post("by the new seqs")
                await asyncio.sleep(0.3)
            alice.post("and on")
            await there.until(lambda found: len(found) > 0 and alice.repo.head.rev in revs(found, alice.did))
        (gap,) = await there.gaps()
        assert gap.kind is GapKind.OTHER_SEQ_SPACE
        (cursor,) = (await there.cursors()).values()
        assert cursor.seq == world.relay.stream.last_seq < 5_000


@needs_inputs
async def test_no_hostile_frame_stops_the_tail(nats_url: str) -> None:
    files = sorted((INPUTS / "hostile").glob("frame-*.bin"))
    # Frames that end a stream are answered with a new connection, which brings the same again.
    hostile = [file.read_bytes() for file in files if "error" not in file.name and "slow" not in file.name]
    assert len(hostile) == 10
    async with World(seed=54) as world, bus(nats_url) as there:
        alice = world.add_account()
        alice.post("fine")
        good = [entry.content() for entry in world.relay.stream.read(0, 10)[1]]
        async with relay_stub([*hostile, *(one for one in good if isinstance(one, bytes))]) as relay:
            async with following(settings_for(nats_url, world.plc.url, relay.url)):
                found = await there.until(lambda events: alice.repo.head.rev in revs(events, alice.did))
        reasons = {event.reason for event in found if isinstance(event, LiveBroken)}
        assert reasons <= {Reason.COMMIT_TOO_BIG.value, Reason.COMMIT_DID.value, Reason.UNRESOLVABLE.value}
        assert len(reasons) > 0
        letters = (await there.js.stream_info(STREAM_DEAD_LETTERS)).state
        assert letters.messages >= 5


async def test_a_full_stream_reaches_the_socket(nats_url: str) -> None:
    """The relay can send no more than what may be in flight and what the sockets hold, and nothing is lost."""
    async with World(seed=55) as world, bus(nats_url) as there:
        alice = world.add_account()
        for _ in range(_LARGE_POSTS):
            alice.post("x" * 60_000)
        stream = world.relay.stream
        contents = [entry.content() for entry in stream.read(0, 2 * _LARGE_POSTS)[1]]
        async with relay_stub([one for one in contents if isinstance(one, bytes)]) as relay:
            relay.released.clear()
            settings = settings_for(nats_url, world.plc.url, relay.url, headwater_firehose_bytes=1_000_000)
            async with following(settings) as tail:
                assert tail.pipeline is not None
                await resize_live_stream(there, 64 * 1024)
                relay.released.set()
                taken = -1
                while taken != relay.taken or not tail.pipeline.full:
                    taken = relay.taken
                    await asyncio.sleep(0.5)
                assert tail.pipeline.bytes < 1_000_000 + 200_000
                assert taken < len(relay.messages)
                await resize_live_stream(there, 1024 * 1024 * 1024)
                watermark = tail.pipeline.watermark
                await until(lambda: watermark.seq == stream.last_seq)
            assert len(revs(await there.events(), alice.did)) >= _LARGE_POSTS


async def test_being_called_too_slow_is_survived(nats_url: str) -> None:
    async with World(seed=58) as world, bus(nats_url) as there:
        alice = world.add_account()
        world.relay.stream.queue = 20
        settings = settings_for(nats_url, world.plc.url, world.relay.url, headwater_firehose_bytes=1)
        async with following(settings):
            await resize_live_stream(there, 16 * 1024)
            while not world.relay.subscriptions.too_slow:
                alice.post("x" * 30_000)
                await asyncio.sleep(0.01)
            await resize_live_stream(there, 1024 * 1024 * 1024)
            await there.until(lambda found: alice.repo.head.rev in revs(found, alice.did))
        found = revs(await there.events(), alice.did)
        assert found == sorted(found)
        sent = [entry.event for entry in world.relay.stream.read(0, 10_000)[1]]
        assert len(found) >= len([event for event in sent if isinstance(event, Committed)]) - 1
        assert await there.gaps() == []


async def test_the_directory_being_away_loses_nothing_and_holds_up_nobody_known(nats_url: str) -> None:
    async with World(seed=56) as world, bus(nats_url) as there:
        alice, bob = world.add_account(), world.add_account()
        async with following(settings_for(nats_url, world.plc.url, world.relay.url)) as tail:
            alice.post("known")
            await there.until(_commits(alice, 1))
            await world.plc.stop()
            bob.post("not known yet")
            alice.post("known")
            found = await there.until(_commits(alice, 2))
            assert revs(found, bob.did) == []
            assert tail.pipeline is not None
            assert len(tail.pipeline.watermark) == 2
            await world.plc.start()
            await there.until(_commits(bob, 1))
            watermark = tail.pipeline.watermark
            await until(lambda: len(watermark) == 0)


async def test_an_unverifiable_account_is_told_and_forgotten(nats_url: str) -> None:
    """A DID that nobody knows: its commits are refused, and the cursor goes on."""
    nobody = Account(did="did:plc:zzzzzzzzzzzzzzzzzzzzzzzz")
    async with World(seed=57) as world, bus(nats_url) as there:
        sent = nobody.commit({b"a.b.c/x": b"\xa0"})
        before = REGISTRY.get_sample_value("headwater_firehose_backfill_refused_total", {"reason": "unresolvable"}) or 0
        async with relay_stub([sent.encode(), message("#novelty", {"seq": 9})]) as relay:
            async with following(settings_for(nats_url, world.plc.url, relay.url)):
                (event,) = await there.until(lambda found: len(found) == 1)
        assert isinstance(event, LiveBroken)
        assert (event.did, event.reason) == (nobody.did, Reason.UNRESOLVABLE.value)
        after = REGISTRY.get_sample_value("headwater_firehose_backfill_refused_total", {"reason": "unresolvable"})
        assert after == before + 1
        (cursor,) = (await there.cursors()).values()
        assert cursor.seq == 1001
