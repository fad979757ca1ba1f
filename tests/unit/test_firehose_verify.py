"""Commits and syncs: what is accepted, what is refused and why, and what becomes of records that are refused."""

from __future__ import annotations

from typing import Any

import pytest

import naive_repo
from firehose_backfill.inversion import leads_back, previous_root
from firehose_backfill.verify import VerifiedCommit, verify_commit, verify_sync
from headwater.blocks import MemoryBlocks
from headwater.bus.messages import Keys
from headwater.cid import cid_text, parse_cid_text
from headwater.errors import InvalidInputError, Reason
from headwater.frame_reader import parse_frame
from headwater.frames import CommitFrame, Op, SyncFrame
from headwater.keys import Curve, PublicKey
from headwater.tid import tid_microseconds
from naive_firehose import KEY, NOW_US, Account, Sent, operation, record, rev
from naive_repo import cid_of, encode, link
from shared_inputs import needs_inputs, read_json

PUBLIC = PublicKey.from_point(Curve.K256, KEY.public_key.format())
STRANGER = naive_repo.coincurve.PrivateKey(b"\x02" * 32)
X, Y, Z = b"a.b.c/x", b"a.b.c/y", b"a.b.c/z"
MANY = {b"a.b.c/%03d" % number: record(number) for number in range(200)}


def _verify(sent: Sent, now_us: int = NOW_US, max_row_bytes: int = 1_000_000) -> VerifiedCommit:
    frame = parse_frame(sent.encode())
    assert isinstance(frame, CommitFrame)
    return verify_commit(frame, PUBLIC, now_us, max_row_bytes)


def _refusal(sent: Sent, **how: int) -> Reason:
    with pytest.raises(InvalidInputError) as refused:
        _verify(sent, **how)
    return refused.value.reason


def _resign(sent: Sent, account: Account, root: bytes, **changes: Any) -> Sent:
    """The frame with another commit in place of its own."""
    commit = account.sign(root, **changes)
    blocks = {cid_of(commit): commit, **dict(list(sent.blocks.items())[1:])}
    return Sent({**sent.body, "commit": link(cid_of(commit))}, blocks)


def test_a_commit_as_it_goes_on_the_bus() -> None:
    account = Account({**MANY, Y: record(1), Z: record(2)}, commits=4)
    before = account.tree()[0]
    written = encode({"$type": "a.b.c", "createdAt": "2025-01-01T00:00:00Z", "subject": "did:web:a.example"})
    verified = _verify(account.commit({X: written, Y: record(3), Z: None}))
    commit = verified.commit
    assert (commit.did, commit.rev, commit.since, commit.seq) == (account.did, rev(5), rev(4), 1005)
    assert (commit.data, commit.prev_data) == (cid_text(account.tree()[0]), cid_text(before))
    assert commit.put.collection == ["a.b.c", "a.b.c"]
    assert commit.put.rkey == ["x", "y"]
    assert commit.put.cid == [cid_text(cid_of(written)), cid_text(cid_of(record(3)))]
    assert commit.put.created_at == [1_735_689_600_000_000, NOW_US]
    assert commit.put.subject == ["did:web:a.example", None]
    assert commit.put.record[1] == '{"$type":"a.b.c","number":3}'
    assert commit.put.raw == {}
    assert commit.delete == Keys(["a.b.c"], ["z"])
    assert (verified.refused, verified.legacy) == ([], False)


def test_a_commit_that_does_nothing_needs_no_node() -> None:
    account = Account(dict(MANY))
    sent = account.commit({})
    assert len(sent.blocks) == 1
    verified = _verify(sent)
    assert (len(verified.commit.put), len(verified.commit.delete)) == (0, 0)
    assert _refusal(_resign(sent, account, cid_of(b"another tree"))) is Reason.COMMIT_PREV_DATA
    del sent.body["prevData"]
    assert _verify(sent).legacy


def test_the_first_commit_of_a_repo() -> None:
    account = Account()
    sent = account.commit({X: record(1)})
    assert not _verify(sent).legacy
    sent.body |= {"since": None, "prevData": None}
    assert _verify(sent).legacy


def test_a_record_that_cannot_be_used_is_a_deletion_and_its_siblings_go_on() -> None:
    account = Account({Y: record(1)})
    floats, text = encode({"$type": "a.b.c", "half": 0.5}), encode({"$type": "a.b.c", "text": "x" * 3000})
    sent = account.commit({X: floats, Y: encode([1]), Z: record(2), b"a.b.c/zz": text})
    verified = _verify(sent, max_row_bytes=2000)
    assert verified.commit.put.rkey == ["z"]
    assert verified.commit.delete == Keys(["a.b.c"] * 3, ["x", "y", "zz"])
    assert [(refused.rkey, refused.reason) for refused in verified.refused] == [
        ("x", Reason.RECORD_FLOAT),
        ("y", Reason.RECORD_NOT_MAP),
        ("zz", Reason.RECORD_TOO_LARGE),
    ]
    assert verified.refused[0].block == floats
    assert verified.refused[0].cid == cid_of(floats)
    assert _verify(sent, max_row_bytes=4000).commit.put.rkey == ["z", "zz"]


def test_a_text_with_nul_keeps_its_block() -> None:
    block = encode({"$type": "a.b.c", "text": "\0"})
    verified = _verify(Account().commit({X: record(1), Y: block}))
    assert verified.commit.put.raw == {1: block}


def test_commits_that_are_not_the_frames() -> None:
    account = Account(dict(MANY), commits=1)
    sent = account.commit({X: record(1)})
    root = account.tree()[0]
    assert _verify(_resign(sent, account, root)).commit.rev == rev(2)
    assert _refusal(_resign(sent, account, root, did="did:plc:zzzzzzzzzzzzzzzzzzzzzzzz")) is Reason.COMMIT_DID
    assert _refusal(_resign(sent, account, root, rev=rev(3))) is Reason.COMMIT_REV
    assert _refusal(_resign(sent, account, root, rev="x")) is Reason.COMMIT_REV
    assert _refusal(_resign(sent, account, root, version=2)) is Reason.COMMIT_MALFORMED
    assert _refusal(_resign(sent, account, root, data=None)) is Reason.COMMIT_MALFORMED
    other = Sent({**sent.body, "commit": link(cid_of(b"another"))}, sent.blocks)
    assert _refusal(other) is Reason.COMMIT_CID
    assert _refusal(Sent({**sent.body, "since": sent.body["rev"]}, sent.blocks)) is Reason.COMMIT_REV
    assert _refusal(Sent({**sent.body, "tooBig": True}, sent.blocks)) is Reason.COMMIT_TOO_BIG


def test_a_rev_may_be_five_minutes_ahead() -> None:
    sent = Account(commits=1).commit({X: record(1)})
    written_us = tid_microseconds(rev(2))
    assert _verify(sent, now_us=written_us - 300_000_000)
    assert _refusal(sent, now_us=written_us - 300_000_001) is Reason.COMMIT_REV


def test_signatures() -> None:
    account = Account(dict(MANY))
    sent = account.commit({X: record(1)})
    root = account.tree()[0]
    assert _refusal(_resign(sent, Account(account.records, 1, key=STRANGER), root)) is Reason.BAD_SIGNATURE
    commit = next(iter(sent.blocks.values()))
    unsigned = {"did": account.did, "version": 3, "data": link(root), "rev": rev(1), "prev": None}
    spoiled = encode({**unsigned, "sig": b"\x01" * 64})
    assert len(spoiled) == len(commit)
    blocks = {cid_of(spoiled): spoiled, **dict(list(sent.blocks.items())[1:])}
    assert _refusal(Sent({**sent.body, "commit": link(cid_of(spoiled))}, blocks)) is Reason.BAD_SIGNATURE


def test_operations_that_the_tree_contradicts() -> None:
    account = Account({**MANY, Y: record(1), Z: record(2)})
    sent = account.commit({X: record(3), Y: record(4), Z: None})

    def with_ops(*ops: dict[str, Any]) -> Reason:
        return _refusal(Sent({**sent.body, "ops": list(ops)}, sent.blocks))

    create, update, delete = sent.body["ops"]
    assert _verify(Sent({**sent.body, "ops": [delete, update, create]}, sent.blocks))
    assert with_ops(create, update) is Reason.COMMIT_PREV_DATA
    assert with_ops(create, update, {**delete, "prev": create["cid"]}) is Reason.COMMIT_PREV_DATA
    assert with_ops(create, {**update, "prev": create["cid"]}, delete) is Reason.COMMIT_PREV_DATA
    assert with_ops(create, {**update, "cid": create["cid"]}, delete) is Reason.COMMIT_OPS
    assert with_ops(create, update, {**delete, "path": "a.b.c/x"}) is Reason.FRAME_OP
    assert with_ops(update, {**delete, "path": "a.b.c/x"}) is Reason.COMMIT_OPS
    assert with_ops({**create, "path": "a.b.c/xx"}, update, delete) is Reason.COMMIT_OPS
    without_prev = {name: value for name, value in update.items() if name != "prev"}
    assert with_ops(create, without_prev, delete) is Reason.COMMIT_OPS
    assert _refusal(Sent({**sent.body, "prevData": link(cid_of(b"?"))}, sent.blocks)) is Reason.COMMIT_PREV_DATA


def test_a_new_record_is_no_update() -> None:
    for key in (b"a.b.c/%03dx" % number for number in range(0, 200, 20)):
        sent = Account(MANY).commit({key: record(3)})
        (create,) = sent.body["ops"]
        assert _verify(sent)
        assert _refusal(Sent({**sent.body, "ops": [{**create, "action": "update"}]}, sent.blocks)) is Reason.COMMIT_OPS


def test_blocks_that_are_missing_or_wrong() -> None:
    account = Account(dict(MANY))
    sent = account.commit({X: record(1000)})
    root, nodes = account.tree()

    def without(cid: bytes) -> Reason:
        return _refusal(Sent(sent.body, {c: block for c, block in sent.blocks.items() if c != cid}))

    assert without(cid_of(record(1000))) is Reason.BLOCK_MISSING
    assert without(root) is Reason.MST_INCOMPLETE
    spoiled = {cid: block if cid != root else block + b"\0" for cid, block in sent.blocks.items()}
    assert _refusal(Sent(sent.body, spoiled)) is Reason.BLOCK_HASH
    unread = Sent({**sent.body, "blocks": b""}, {})
    with pytest.raises(InvalidInputError) as refused:
        frame = parse_frame(naive_repo.encode({"op": 1, "t": "#commit"}) + encode(unread.body))
        assert isinstance(frame, CommitFrame)
        verify_commit(frame, PUBLIC, NOW_US, 1_000_000)
    assert refused.value.reason is Reason.CAR_TRUNCATED
    node = nodes[root]
    as_record = Account(dict(MANY)).commit({X: node})
    assert _refusal(as_record) is Reason.MST_MALFORMED


def test_a_tree_that_no_strict_reader_takes() -> None:
    """An account can sign what it likes; a node that is not in its one encoding is refused though all hashes agree."""
    account = Account({b"a.b.c/1": record(1)})
    before, _ = account.tree()
    account.commits += 1
    value = cid_of(record(2))
    node = encode({"e": [{"p": 0, "k": b"a.b.c/1", "v": link(cid_of(record(1))), "t": None}], "l": None, "x": 1})
    commit = account.sign(cid_of(node))
    body = {
        **account.commit({X: record(2)}).body,
        "rev": rev(1),
        "since": None,
        "commit": link(cid_of(commit)),
        "prevData": link(before),
        "ops": [operation(X, None, record(2))],
    }
    sent = Sent(body, {cid_of(commit): commit, cid_of(node): node, value: record(2)})
    assert _refusal(sent) is Reason.MST_MALFORMED


def test_before_sync_v1_1() -> None:
    account = Account({**MANY, Z: record(2)})
    sent = account.commit({X: record(3), Z: None})
    del sent.body["prevData"]
    for op in sent.body["ops"]:
        op.pop("prev", None)
    assert _verify(sent).legacy
    create, delete = sent.body["ops"]
    assert _refusal(Sent({**sent.body, "ops": [{**create, "path": "a.b.c/none"}]}, sent.blocks)) is Reason.COMMIT_OPS
    assert _refusal(Sent({**sent.body, "ops": [{**delete, "path": "a.b.c/x"}]}, sent.blocks)) is Reason.COMMIT_OPS
    root = account.tree()[0]
    rootless = {cid: block for cid, block in sent.blocks.items() if cid != root}
    assert _refusal(Sent(sent.body, rootless)) is Reason.MST_INCOMPLETE
    below = [cid for cid in sent.blocks if cid in account.tree()[1] and cid != root]
    shallow = {cid: block for cid, block in sent.blocks.items() if cid not in below}
    deleted = Sent({**sent.body, "ops": [{**delete, "path": "a.b.c/1000"}]}, shallow)
    assert _verify(deleted).commit.delete == Keys(["a.b.c"], ["1000"])


@needs_inputs
@pytest.mark.parametrize(
    "case", read_json("interop/firehose/commit-proof-fixtures.json"), ids=lambda case: case["comment"]
)
def test_commit_proofs(case: dict[str, Any]) -> None:
    """The blocks that the fixture calls the proof suffice to undo its operations, in whatever order."""
    value = parse_cid_text(case["leafValue"])
    adds, dels = [key.encode() for key in case["adds"]], [key.encode() for key in case["dels"]]
    keys = {key.encode() for key in case["keys"]} | set(adds)
    root, nodes = naive_repo.build_tree(dict.fromkeys(keys - set(dels), value))
    assert cid_text(root) == case["rootAfterCommit"]
    blocks = MemoryBlocks()
    for cid in map(parse_cid_text, case["blocksInProof"]):
        blocks.put(cid, nodes[cid])
    ops = [Op("create", "", "", key, value, None) for key in adds]
    ops += [Op("delete", "", "", key, None, value) for key in dels]
    for order in (ops, ops[::-1], sorted(ops, key=lambda op: op.key)):
        before = previous_root(blocks, root, order)
        assert cid_text(before) == case["rootBeforeCommit"]
        assert leads_back(blocks, root, order, before)
        assert not leads_back(blocks, root, order, root)


def test_a_sync() -> None:
    account = Account({X: record(1)}, commits=3)
    frame = parse_frame(account.sync().encode())
    assert isinstance(frame, SyncFrame)
    verified = verify_sync(frame, PUBLIC, NOW_US)
    assert (verified.did, verified.rev, verified.seq) == (account.did, rev(3), 1003)
    assert verified.data == cid_text(account.tree()[0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"did": "did:plc:zzzzzzzzzzzzzzzzzzzzzzzz"}, Reason.COMMIT_DID),
        ({"rev": rev(4)}, Reason.COMMIT_REV),
    ],
)
def test_a_sync_that_does_not_say_what_its_commit_says(change: dict[str, str], reason: Reason) -> None:
    sent = Account(commits=3).sync()
    frame = parse_frame(Sent({**sent.body, **change}, sent.blocks, "#sync").encode())
    assert isinstance(frame, SyncFrame)
    with pytest.raises(InvalidInputError) as refused:
        verify_sync(frame, PUBLIC, NOW_US)
    assert refused.value.reason is reason


def test_a_sync_that_somebody_else_has_signed() -> None:
    frame = parse_frame(Account(commits=3, key=STRANGER).sync().encode())
    assert isinstance(frame, SyncFrame)
    with pytest.raises(InvalidInputError) as refused:
        verify_sync(frame, PUBLIC, NOW_US)
    assert refused.value.reason is Reason.BAD_SIGNATURE
