"""Where the live tail goes on when no cursor says so: at another relay, before the first cursor, behind what cannot be
read. Time says it then, and what stays unknown is a gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from firehose_backfill.live import LiveTail
from firehose_rig import Bus, bus, connected, following, revs, settings_for
from headwater.bus.firehose import GapKind
from headwater.bus.streams import BUCKET_CURSORS, STREAM_DEAD_LETTERS
from headwater.bus.subjects import partition
from headwater.clock import now_us
from simulator import World
from simulator.account import Account
from simulator.relay import Relay
from waiting import until


@asynccontextmanager
async def two_relays(seed: int) -> AsyncIterator[tuple[World, Relay, Account]]:
    """A world with a second relay, whose seqs are others, and an account."""
    async with World(seed=seed) as world:
        second = world.add_relay(first_seq=5_000)
        await second.start()
        account = world.add_account()
        world.clock.advance(900)  # the windows reach back to before whoever begins now
        yield world, second, account
        await second.stop()


def post(account: Account, text: str) -> str:
    """Write a post; the rev of its commit."""
    account.post(text)
    return account.repo.head.rev


async def have(there: Bus, account: Account, posts: Sequence[str]) -> None:
    """Wait until the commits of all these revs lie in the stream."""
    await there.until(lambda found: set(posts) <= set(revs(found, account.did)))


async def follows(tail: LiveTail, relay: Relay) -> None:
    await until(lambda: tail.relay.name in relay.url)
    await connected(tail)


async def test_another_relay_is_followed_from_where_the_first_one_failed(nats_url: str) -> None:
    async with two_relays(38) as (world, second, alice), bus(nats_url) as there:
        settings = settings_for(nats_url, world.plc.url, world.relay.url, second.url)
        async with following(settings) as tail:
            posts = [post(alice, "by the first")]
            await have(there, alice, posts)
            await world.relay.stop()
            posts += [post(alice, f"while no relay is followed {number}") for number in range(5)]
            await follows(tail, second)
            posts.append(post(alice, "by the second"))
            await have(there, alice, posts)
        assert await there.gaps() == []
        names = {key.relay: cursor.seq for key, cursor in (await there.cursors()).items()}
        assert names[second.url.split("//")[1]] == second.stream.last_seq
        await world.relay.start()
        posts.append(post(alice, "while nobody listens"))
        async with following(settings) as tail:
            await follows(tail, second)
            await have(there, alice, posts)
        assert await there.gaps() == []


async def test_a_window_that_begins_too_late_is_read_whole_and_is_a_gap(nats_url: str) -> None:
    async with two_relays(39) as (world, second, alice), bus(nats_url) as there:
        settings = settings_for(nats_url, world.plc.url, world.relay.url, second.url)
        async with following(settings) as tail:
            seen = [post(alice, "by the first")]
            await have(there, alice, seen)
            await world.relay.stop()
            world.clock.advance(1_000)
            post(alice, "in no window any more")
            second.stream.keep_events = 3
            seen += [post(alice, f"in the window {number}") for number in range(3)]
            await follows(tail, second)
            await have(there, alice, seen)
        (gap,) = await there.gaps()
        assert (gap.kind, gap.relay) == (GapKind.OTHER_SEQ_SPACE, second.url.split("//")[1])
        assert gap.to_seq == second.stream.first_seq


def begun_before(world: World) -> Account:
    """An account of some minutes ago, in a world of now: the window reaches back to before whoever begins now."""
    world.clock.now_us = now_us() - 900_000_000
    account = world.add_account()
    world.clock.now_us = now_us()
    return account


async def test_who_dies_before_the_first_cursor_begins_where_it_began(nats_url: str) -> None:
    async with World(seed=40) as world, bus(nats_url) as there:
        alice = begun_before(world)
        settings = settings_for(nats_url, world.plc.url, world.relay.url)
        async with following(settings):
            posts = [post(alice, "seen")]
            await have(there, alice, posts)
        await _forget_cursors(there)
        posts += [post(alice, "while nobody listens")]
        async with following(settings):
            await have(there, alice, posts)
        assert await there.gaps() == []


async def _forget_cursors(there: Bus) -> None:
    """As if the process had died before it saved one."""
    bucket = await there.js.key_value(BUCKET_CURSORS)
    for key in await there.cursors():
        await bucket.purge(key.text)


async def test_a_worker_that_comes_late_begins_where_the_others_began(nats_url: str) -> None:
    """Where the others are by then says nothing of its own partitions."""
    async with World(seed=41) as world, bus(nats_url) as there:
        people = [begun_before(world) for _ in range(6)]
        settings = [
            settings_for(nats_url, world.plc.url, world.relay.url, worker_id=number, worker_count=2)
            for number in (0, 1)
        ]
        others = [person for person in people if partition(person.did) % 2 == 1]
        assert 0 < len(others) < len(people)
        async with following(settings[0]):
            posts = {person.did: [post(person, "while worker 0 is alone")] for person in people}
            for person in people:
                if person not in others:
                    await have(there, person, posts[person.did])
        async with following(settings[1]):
            for person in others:
                await have(there, person, posts[person.did])
        assert await there.gaps() == []


@pytest.mark.parametrize("alone_before", [True, False])
async def test_what_a_worker_that_never_came_left_undone_is_done_in_the_next_layout(
    nats_url: str, alone_before: bool
) -> None:
    async with World(seed=44) as world, bus(nats_url) as there:
        people = [begun_before(world) for _ in range(6)]
        one = settings_for(nats_url, world.plc.url, world.relay.url)
        first_of_two = settings_for(nats_url, world.plc.url, world.relay.url, worker_id=0, worker_count=2)
        if alone_before:
            async with following(one):
                await have(there, people[0], [post(people[0], "before")])
        own = [person for person in people if partition(person.did) % 2 == 0]
        assert 0 < len(own) < len(people)
        async with following(first_of_two):
            posts = {person.did: [post(person, "while worker 1 of 2 does not come")] for person in people}
            for person in own:
                await have(there, person, posts[person.did])
        async with following(one):
            for person in people:
                await have(there, person, posts[person.did])
        assert await there.gaps() == []


async def test_what_cannot_be_read_is_passed_over_and_is_a_gap(nats_url: str) -> None:
    async with World(seed=42) as world, bus(nats_url) as there:
        alice, bob = world.add_account(), world.add_account()
        stream = world.relay.stream
        settings = settings_for(nats_url, world.plc.url, world.relay.url)
        async with following(settings):
            posts = [post(bob, "before")]
            await have(there, bob, posts)
            last = stream.last_seq
            stream.jump(40)
            stream.tamper("enormous", alice.did)
            post(alice, "in a message that nobody can read")
            stream.jump(40)
            posts.append(post(bob, "behind it"))
            await have(there, bob, posts)
        gaps = await there.gaps()
        assert [(gap.kind, gap.from_seq, gap.to_seq) for gap in gaps] == [
            (GapKind.MESSAGE_TOO_LARGE, last, stream.last_seq)
        ]
        assert (await there.js.stream_info(STREAM_DEAD_LETTERS)).state.messages > 0
        # It lies in what is asked for again, and is in nobody's way there either.
        async with following(settings):
            posts.append(post(bob, "after a restart"))
            await have(there, bob, posts)
            stream.disconnect()
            posts.append(post(bob, "after a disconnect"))
            await have(there, bob, posts)
        # The same one, which may be being closed by now.
        assert [gap.gap_id for gap in await there.gaps()] == [gap.gap_id for gap in gaps]
        assert revs(await there.events(), alice.did) == []


async def test_nothing_is_waited_for_behind_the_newest_message(nats_url: str) -> None:
    """What cannot be read is the newest that there is, far behind the one before: the next one is taken."""
    async with World(seed=43) as world, bus(nats_url) as there:
        alice, bob = world.add_account(), world.add_account()
        async with following(settings_for(nats_url, world.plc.url, world.relay.url)):
            posts = [post(bob, "before")]
            await have(there, bob, posts)
            world.relay.stream.jump(100)
            world.relay.stream.tamper("enormous", alice.did)
            post(alice, "in a message that nobody can read")
            await _is_quiet(world)
            posts.append(post(bob, "behind it"))
            await have(there, bob, posts)
        assert [gap.kind for gap in await there.gaps()] == [GapKind.MESSAGE_TOO_LARGE]


async def _is_quiet(world: World) -> None:
    """Wait until nobody connects any more."""
    accepted = -1
    while accepted != world.relay.subscriptions.accepted or not world.relay.subscriptions.connected:
        accepted = world.relay.subscriptions.accepted
        await asyncio.sleep(2)
