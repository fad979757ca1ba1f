"""The live tail from the relay's socket to the stream: verified, in order, resumed, and never ahead of the data."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import nats.errors
import nats.js
import pytest

from firehose_rig import bus, following, revs, settings_for
from headwater.bus.messages import LiveAccount, LiveBroken, LiveCommit, LiveEvent, LiveIdentity, LiveSync
from headwater.bus.streams import BUCKET_LEASES
from headwater.errors import InvariantError, Reason
from simulator import World
from waiting import until


async def test_events_of_every_kind_arrive(nats_url: str) -> None:
    async with World(seed=31) as world, bus(nats_url) as there:
        alice = world.add_account()
        async with following(settings_for(nats_url, world.plc.url, world.relay.url)):
            alice.post("one")
            alice.delete("app.bsky.feed.post", _rkey(alice.post("two")))
            alice.sync()
            alice.status = "deactivated"
            events = await there.until(lambda found: any(isinstance(event, LiveAccount) for event in found))
        commits = [event for event in events if isinstance(event, LiveCommit)]
        assert [(len(one.put), len(one.delete)) for one in commits] == [(1, 0), (1, 0), (0, 1)]
        assert [one.prev_data for one in commits[1:]] == [one.data for one in commits[:-1]]
        (sync,) = [event for event in events if isinstance(event, LiveSync)]
        assert (sync.rev, sync.data) == (commits[-1].rev, commits[-1].data)
        account = next(event for event in events if isinstance(event, LiveAccount))
        assert (account.active, account.status) == (False, "deactivated")


async def test_a_restart_goes_on_where_the_cursor_is(nats_url: str) -> None:
    async with World(seed=32) as world, bus(nats_url) as there:
        alice = world.add_account()
        settings = settings_for(nats_url, world.plc.url, world.relay.url)
        async with following(settings):
            alice.post("before")
            await there.until(lambda found: len(revs(found, alice.did)) == 1)
        (cursor,) = (await there.cursors()).values()
        assert cursor.seq == world.relay.stream.last_seq
        for number in range(5):
            alice.post(f"while nobody listens {number}")
        async with following(settings):
            events = await there.until(lambda found: len(revs(found, alice.did)) == 6)
        assert revs(events, alice.did) == sorted(revs(events, alice.did))
        assert await there.gaps() == []


async def test_spoilt_frames_are_told_and_the_others_go_on(nats_url: str) -> None:
    async with World(seed=33) as world, bus(nats_url) as there:
        alice, bob = world.add_account(), world.add_account()
        async with following(settings_for(nats_url, world.plc.url, world.relay.url)):
            world.relay.stream.tamper("signature", did=alice.did)
            alice.post("unsigned")
            for kind in ("malformed", "empty", "no_fields", "unknown_type", "unknown_op", "text", "info", "oversize"):
                world.relay.stream.junk(kind)
            world.relay.stream.tamper("cut", did=alice.did)
            alice.post("not to be read")
            bob.post("fine")
            events = await there.until(lambda found: len(found) == 4)
        broken = [(event.did, event.reason) for event in events if isinstance(event, LiveBroken)]
        assert sorted(broken) == sorted(
            [
                (alice.did, Reason.BAD_SIGNATURE.value),
                (alice.did, Reason.FRAME_MALFORMED.value),
                ("did:plc:" + "y" * 24, Reason.FRAME_TOO_LARGE.value),
            ]
        )
        assert len(revs(events, bob.did)) == 1


async def test_a_rotated_key_is_looked_up(nats_url: str) -> None:
    async with World(seed=34) as world, bus(nats_url) as there:
        alice = world.add_account()
        async with following(settings_for(nats_url, world.plc.url, world.relay.url)):
            alice.post("old key")
            await there.until(lambda found: len(revs(found, alice.did)) == 1)
            alice.rotate_key()
            alice.post("new key")
            events = await there.until(lambda found: len(revs(found, alice.did)) >= 2)
        assert any(isinstance(event, LiveIdentity) for event in events)
        assert not any(isinstance(event, LiveBroken) for event in events)


async def test_a_rotated_key_is_looked_up_when_nobody_has_told_of_it(
    nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firehose_backfill.keyring._FRESH_SECONDS", 0.0)
    async with World(seed=40) as world, bus(nats_url) as there:
        alice = world.add_account()
        async with following(settings_for(nats_url, world.plc.url, world.relay.url)):
            alice.post("old key")
            await there.until(lambda found: len(revs(found, alice.did)) == 1)
            world.relay.stream.tamper("hide", alice.did)
            alice.rotate_key()
            alice.post("new key")
            events = await there.until(lambda found: alice.repo.head.rev in [getattr(one, "rev", "") for one in found])
        assert not any(isinstance(event, (LiveIdentity, LiveBroken)) for event in events)


async def test_collections_and_excluded_accounts_are_left_out(nats_url: str) -> None:
    async with World(seed=35) as world, bus(nats_url) as there:
        alice, bob = world.add_account(), world.add_account()
        settings = settings_for(
            nats_url, world.plc.url, world.relay.url, collections="app.bsky.graph.*", exclude_dids=bob.did
        )
        async with following(settings):
            bob.post("not wanted")
            alice.post("not wanted either, but a link of the chain")
            follow = {"$type": "app.bsky.graph.follow", "subject": bob.did, "createdAt": "2026-01-01T00:00:00Z"}
            alice.create("app.bsky.graph.follow", follow)
            events = await there.until(lambda found: len(revs(found, alice.did)) == 2)
        commits = [event for event in events if isinstance(event, LiveCommit)]
        assert {one.did for one in commits} == {alice.did}
        assert [one.put.collection for one in commits] == [[], ["app.bsky.graph.follow"]]


async def test_workers_share_and_a_changed_count_loses_nothing(nats_url: str) -> None:
    async with World(seed=36) as world, bus(nats_url) as there:
        people = [world.add_account() for _ in range(8)]
        plc, relay = world.plc.url, world.relay.url

        def write() -> None:
            for person in people:
                person.post("hello")

        def have(number: int) -> Callable[[list[LiveEvent]], bool]:
            return lambda found: all(len(revs(found, one.did)) == number for one in people)

        async with following(settings_for(nats_url, plc, relay)):
            write()
            await there.until(have(1))
        write()
        two = [settings_for(nats_url, plc, relay, worker_id=number, worker_count=2) for number in (0, 1)]
        async with following(two[0]), following(two[1]):
            await there.until(have(2))
        write()
        async with following(settings_for(nats_url, plc, relay)):
            await there.until(have(3))
        assert await there.gaps() == []


async def test_a_second_process_of_the_same_worker_refuses(nats_url: str) -> None:
    async with World(seed=37) as world, bus(nats_url) as there:
        settings = settings_for(nats_url, world.plc.url, world.relay.url)
        async with following(settings):
            with pytest.raises(InvariantError, match="already"):
                async with following(settings):
                    pass
        async with following(settings):
            pass
        leases = await there.js.key_value(BUCKET_LEASES)
        await leases.put("firehose-backfill.0", b"a process that died")
        async with following(settings):
            pass


async def test_the_cursor_waits_for_the_acknowledgement(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if the cursor were saved at receipt: what was read and not acknowledged must come again."""
    async with World(seed=39) as world, bus(nats_url) as there:
        alice = world.add_account()
        settings = settings_for(nats_url, world.plc.url, world.relay.url)
        publish = nats.js.JetStreamContext.publish

        async def held(self: nats.js.JetStreamContext, subject: str, *args: object, **fields: object) -> object:
            if subject.startswith("records.") and not acknowledging.is_set():
                raise nats.errors.TimeoutError
            return await publish(self, subject, *args, **fields)  # type: ignore[arg-type]

        acknowledging = asyncio.Event()
        acknowledging.set()
        monkeypatch.setattr(nats.js.JetStreamContext, "publish", held)
        async with following(settings) as tail:
            alice.post("safe")
            await there.until(lambda found: len(revs(found, alice.did)) == 1)
            acknowledging.clear()
            alice.post("read, and never acknowledged")
            await until(lambda: tail.events_taken >= 2)
            await asyncio.sleep(1.5)  # two savings
        (cursor,) = (await there.cursors()).values()
        assert cursor.seq < world.relay.stream.last_seq
        acknowledging.set()
        async with following(settings):
            await there.until(lambda found: len(revs(found, alice.did)) == 2)


def _rkey(uri: str) -> str:
    return uri.rsplit("/", 1)[-1]
