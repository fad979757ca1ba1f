"""What the simulated hosts tell of commits is what Headwater's verifier demands; and the trees are the right ones."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import pytest

from firehose_backfill.verify import verify_commit, verify_sync
from headwater.cid import cid_text
from headwater.errors import InvalidInputError, Reason
from headwater.frame_reader import parse_frame
from headwater.frames import AccountFrame, CommitFrame, Frame, IdentityFrame, SyncFrame
from headwater.keys import PublicKey, parse_did_key
from simulator import DEFAULT_NOW_US, Account, World, Write, mst, tree
from simulator.dagcbor import cid_of
from simulator.spoils import SPOILS
from simulator.stream import Stream

NOW_US = DEFAULT_NOW_US + 3_600_000_000
KINDS = ("app.bsky.feed.post", "app.bsky.feed.like", "com.example.thing")


def public_key(account: Account) -> PublicKey:
    return parse_did_key(account.key.did_key)


def frames(stream: Stream) -> list[Frame]:
    contents = [entry.content() for entry in stream.read(0, 1_000_000)[1]]
    return [parse_frame(content) for content in contents if isinstance(content, bytes)]


def commits(stream: Stream) -> list[CommitFrame]:
    return [frame for frame in frames(stream) if isinstance(frame, CommitFrame)]


def write_at_random(account: Account, rng: Random, count: int) -> None:
    """Commits of one to six creates, updates and deletes."""
    for number in range(count):
        present = [tuple(key.decode().split("/")) for key in account.repo.sorted_keys()]
        rng.shuffle(present)
        writes = []
        for at in range(rng.choice((1, 1, 1, 2, 3, 6))):
            kind = rng.random()
            record = {"$type": KINDS[at % 3], "number": number, "at": at}
            if kind < 0.55 or not present:
                writes.append(Write("create", rng.choice(KINDS), f"{rng.randrange(10**9):09d}", record))
            elif kind < 0.7:
                writes.append(Write("update", *present.pop(), record))
            else:
                writes.append(Write("delete", *present.pop()))
        account.apply_writes(writes)


def test_trees_changed_key_by_key_are_those_built_at_once() -> None:
    rng, records, changed = Random(3), dict[bytes, bytes](), mst.EMPTY
    for number in range(2500):
        key = b"a.b.c/%04d" % rng.randrange(600)
        if key in records and rng.random() < 0.6:
            del records[key]
            changed = mst.remove(changed, key)
        else:
            records[key] = cid_of(b"%d" % number)
            changed = mst.put(changed, key, records[key])
        if number % 25 == 0:
            keys = sorted(records)
            built = tree.build(keys, [records[key] for key in keys])
            assert mst.seal(changed)[0].cid == built.cid
            assert list(mst.walk(changed)) == sorted(records.items())
            assert mst.seal(mst.from_sorted(keys, [records[key] for key in keys]))[0].block == built.block
    with pytest.raises(KeyError):
        mst.remove(changed, b"a.b.c/none")


@pytest.mark.parametrize("curve", ["k256", "p256"])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_commit_of_a_history_is_proven_by_its_frame(curve: Any, seed: int) -> None:
    with World(seed) as world:
        account = world.add_account(curve=curve)
        account.seed_records(seed * 40)
        write_at_random(account, Random(seed), 200)
        account.apply_writes(
            Write("delete", *key.decode().split("/")) for key in list(account.repo.sorted_keys())[:150]
        )
        told = commits(world.relay.stream)
        assert len(told) >= 203
        for before, frame in pairwise(told):
            verified = verify_commit(frame, public_key(account), NOW_US, 1_000_000)
            assert not verified.legacy
            assert not verified.refused
            assert frame.since == before.rev
            previous = verify_commit(before, public_key(account), NOW_US, 1_000_000)
            assert verified.commit.prev_data == previous.commit.data
            # No more is carried than what proves it: a few nodes an operation.
            assert len(frame.blocks) < 12_000 * max(1, len(frame.ops))
        assert told[-1].commit == account.repo.head.cid
        assert told[0].prev_data is None


def test_the_rows_of_all_commits_together_are_the_repo() -> None:
    with World(4) as world:
        account = world.add_account()
        write_at_random(account, Random(4), 150)
        rows: dict[tuple[str, str], str] = {}
        for frame in commits(account.host.stream):
            live = verify_commit(frame, public_key(account), NOW_US, 1_000_000).commit
            for key in zip(live.delete.collection, live.delete.rkey, strict=True):
                del rows[key]
            rows |= dict(zip(zip(live.put.collection, live.put.rkey, strict=True), live.put.cid, strict=True))
        assert rows == account.expected_cids()


def test_what_exceeds_a_commit_is_told_as_a_sync(tmp_path: Any) -> None:
    with World(5, cache=tmp_path) as world:
        account = world.add_account()
        account.seed_records(6000)
        account.post("after the seed")
        account.change_records(0.1)
        account.post("after the change")
        large = [Write("create", "a.b.c", f"{n}", {"pad": bytes([n]) * 500_000}) for n in range(5)]
        account.apply_writes(large)
        last = account.post("after the large ones")
        # The account begins with its status, identity, an empty commit and a sync.
        kinds = [type(frame).__name__ for frame in frames(world.relay.stream)][4:]
        assert kinds == ["SyncFrame", "CommitFrame", "SyncFrame", "CommitFrame", "SyncFrame", "CommitFrame"]
        key, roots = public_key(account), {}
        for frame in frames(world.relay.stream):
            if isinstance(frame, SyncFrame):
                roots[frame.rev] = verify_sync(frame, key, NOW_US).data
            elif isinstance(frame, CommitFrame):
                live = verify_commit(frame, key, NOW_US, 1_000_000).commit
                assert live.since is None or live.prev_data == roots[live.since]
                roots[frame.rev] = live.data
        assert roots[account.repo.rev] == cid_text(account.repo.head.root)
        assert live.put.rkey == [last]


def test_the_life_of_an_account_is_told_in_order() -> None:
    with World(6, hosts=2) as world:
        account = world.add_account("early.sim.test")
        first_key, old_host = public_key(account), account.host
        account.post("one")
        account.rename("late.sim.test")
        account.status = "deactivated"
        account.post("while nobody hears it")
        account.status = "active"
        account.rotate_key()
        account.migrate(world.hosts[1])
        account.post("at the new host")
        account.tombstone()
        told = frames(world.relay.stream)
        names = [type(frame).__name__.removesuffix("Frame") for frame in told]
        assert names == [
            *("Identity", "Account", "Commit", "Sync"),
            *("Commit", "Identity", "Account", "Account", "Sync"),
            *("Identity", "Commit"),
            *("Identity", "Commit", "Account", "Sync"),
            *("Commit", "Account", "Identity"),
        ]
        handles = [frame.handle for frame in told if isinstance(frame, IdentityFrame)]
        assert handles == ["early.sim.test", *["late.sim.test"] * 3, None]
        statuses = [(frame.active, frame.status) for frame in told if isinstance(frame, AccountFrame)]
        assert statuses == [(True, None), (False, "deactivated"), (True, None), (True, None), (False, "deleted")]
        assert isinstance(told[8], SyncFrame)
        assert verify_sync(told[8], first_key, NOW_US).rev == told[8].rev > told[4].rev
        at_new_host = frames(world.hosts[1].stream)
        assert [type(frame) for frame in at_new_host] == [type(frame) for frame in told[11:]]
        assert [frame.seq for frame in at_new_host] == list(range(1, 8))
        verify_commit(told[15], public_key(account), NOW_US, 1_000_000)
        with pytest.raises(InvalidInputError):
            verify_commit(told[15], first_key, NOW_US, 1_000_000)
        last_at_old = frames(old_host.stream)[-1]
        assert isinstance(last_at_old, AccountFrame)
        assert last_at_old.status == "deactivated"


_VERDICTS = {
    "block_hash": Reason.BLOCK_HASH,
    "signature": Reason.BAD_SIGNATURE,
    "missing_node": Reason.MST_INCOMPLETE,
    "missing_record": Reason.BLOCK_MISSING,
    "prev_data": Reason.COMMIT_PREV_DATA,
    "lying_op": Reason.COMMIT_OPS,
    "hidden_op": Reason.COMMIT_PREV_DATA,
    "future_rev": Reason.COMMIT_REV,
    "wrong_did": Reason.COMMIT_DID,
    "too_big": Reason.COMMIT_TOO_BIG,
    "large_blocks": Reason.FRAME_TOO_LARGE,
    "enormous": Reason.FRAME_TOO_LARGE,
    "cut": Reason.FRAME_MALFORMED,
    "trailing": Reason.FRAME_MALFORMED,
}


@pytest.mark.parametrize("kind", sorted(SPOILS))
def test_a_spoilt_commit_is_refused_for_what_is_wrong_with_it(kind: str) -> None:
    with World(7) as world:
        account, other = world.add_account(), world.add_account()
        write_at_random(account, Random(7), 20)
        stream = world.relay.stream
        stream.tamper(kind, account.did)
        other.post("of another account")
        account.post("spoilt")
        account.post("whole again")
        *_, spared, spoilt, whole = (entry.content() for entry in stream.read(0, 1000)[1])
        assert isinstance(spared, bytes)
        assert isinstance(spoilt, bytes)
        assert isinstance(whole, bytes)
        for content, whose in ((spared, other), (whole, account)):
            frame = parse_frame(content)
            assert isinstance(frame, CommitFrame)
            verify_commit(frame, public_key(whose), NOW_US, 1_000_000)

        def read() -> CommitFrame:
            frame = parse_frame(spoilt)
            assert isinstance(frame, CommitFrame)
            verified = verify_commit(frame, public_key(account), NOW_US, 1_000_000)
            assert verified.legacy is (kind == "legacy")
            return frame

        if kind in _VERDICTS:
            with pytest.raises(InvalidInputError) as refused:
                read()
            assert refused.value.reason is _VERDICTS[kind]
        elif kind == "old_rev":
            assert read().rev < commits(stream)[0].rev
        else:
            assert kind == "legacy"
            read()
