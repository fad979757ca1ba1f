"""Commits of drawn repos, verified on the blocks that a host sends, and refused when anything in them is not true."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import naive_repo
from firehose_backfill.verify import VerifiedCommit, verify_commit
from headwater.cid import cid_text
from headwater.errors import InvalidInputError
from headwater.frame_reader import parse_frame
from headwater.frames import CommitFrame
from headwater.keys import Curve, PublicKey
from naive_firehose import KEY, NOW_US, Account, Sent, operation, record
from naive_repo import cid_of, link

PUBLIC = PublicKey.from_point(Curve.K256, KEY.public_key.format())
# Neighbours of all layers, so that trees grow, shrink, split and merge.
_NUMBERED = [b"a.b.c/%04d" % number for number in range(3000)]
_TALL = [key for key in _NUMBERED if naive_repo.layer(key) >= 2]
keys = st.sampled_from(_NUMBERED[:300] + _TALL)
contents = st.dictionaries(keys, st.integers(0, 5), max_size=50)


@st.composite
def commits(draw: st.DrawFn) -> tuple[Account, Sent]:
    """An account after a commit of at least one operation, and the commit's frame."""
    before = draw(contents)
    account = Account({key: record(number) for key, number in before.items()})
    drawn = draw(st.dictionaries(keys, st.integers(0, 5), max_size=6))
    writes: dict[bytes, bytes | None] = {
        key: record(number) for key, number in drawn.items() if account.records.get(key) != record(number)
    }
    gone = draw(st.sets(st.sampled_from(sorted(before)), max_size=6)) if before else set()
    writes |= dict.fromkeys(gone - writes.keys())
    if not writes:
        writes = dict.fromkeys(sorted(before)[:1]) or {_TALL[0]: record(0)}
    return account, account.commit(writes)


def _verified(sent: Sent) -> VerifiedCommit:
    frame = parse_frame(sent.encode())
    assert isinstance(frame, CommitFrame)
    return verify_commit(frame, PUBLIC, NOW_US, 1_000_000)


@given(commits())
def test_undoing_the_operations_leads_to_the_root_before(drawn: tuple[Account, Sent]) -> None:
    account, sent = drawn
    verified = _verified(sent)
    assert not verified.legacy
    assert not verified.refused
    assert verified.commit.data == cid_text(account.tree()[0])
    put = verified.commit.put
    written = {
        op["path"]: cid_text(op["cid"].value[1:]) for op in sent.body["ops"] if op["action"] in ("create", "update")
    }
    assert {f"{c}/{r}": cid for c, r, cid in zip(put.collection, put.rkey, put.cid, strict=True)} == written
    deleted = verified.commit.delete
    assert {f"{c}/{r}" for c, r in zip(deleted.collection, deleted.rkey, strict=True)} == {
        op["path"] for op in sent.body["ops"] if op["action"] == "delete"
    }


def _hide(sent: Sent, account: Account, random: Random) -> None:
    sent.body["ops"].pop(random.randrange(len(sent.body["ops"])))


def _make_up_a_create(sent: Sent, account: Account, random: Random) -> None:
    """Say of a record that was there already that it is new."""
    named = {op["path"].encode() for op in sent.body["ops"]}
    known = sorted(account.records.keys() - named) or [b"a.b.c/none"]
    block = account.records.get(known[0], record(0))
    sent.blocks[cid_of(block)] = block
    sent.body["ops"].append(operation(random.choice(known), None, block))


def _make_up_a_delete(sent: Sent, account: Account, random: Random) -> None:
    sent.body["ops"].append(operation(b"a.b.c/made-up", record(1), None))


def _other_prev(sent: Sent, account: Account, random: Random) -> None:
    op = random.choice(sent.body["ops"])
    op["prev"] = link(cid_of(b"another"))
    if op["action"] == "create":
        op["action"] = "update"


def _other_cid(sent: Sent, account: Account, random: Random) -> None:
    op = random.choice(sent.body["ops"])
    block = record(77)
    sent.blocks[cid_of(block)] = block
    op["cid"] = link(cid_of(block))
    if op["action"] == "delete":
        op["action"] = "update"


def _other_key(sent: Sent, account: Account, random: Random) -> None:
    random.choice(sent.body["ops"])["path"] = "a.b.c/elsewhere"


def _other_root_before(sent: Sent, account: Account, random: Random) -> None:
    sent.body["prevData"] = link(cid_of(b"another"))


def _changed_block(sent: Sent, account: Account, random: Random) -> None:
    cid = random.choice(sorted(sent.blocks))
    block = bytearray(sent.blocks[cid])
    block[random.randrange(len(block))] ^= 1 << random.randrange(8)
    sent.blocks[cid] = bytes(block)


def _other_tree(sent: Sent, account: Account, random: Random) -> None:
    """Sign a tree that differs from the commit's by a record which no operation names."""
    named = {op["path"].encode() for op in sent.body["ops"]}
    hidden = next(key for key in _NUMBERED if key not in named and key not in account.records)
    account.records[hidden] = record(9)
    root, nodes = account.tree()
    commit = account.sign(root)
    sent.body["commit"] = link(cid_of(commit))
    sent.blocks = {cid_of(commit): commit, **nodes, **sent.blocks}


@pytest.mark.parametrize(
    "tamper",
    [
        _hide,
        _make_up_a_create,
        _make_up_a_delete,
        _other_prev,
        _other_cid,
        _other_key,
        _other_root_before,
        _changed_block,
        _other_tree,
    ],
)
@given(commits(), st.integers())
def test_what_is_not_true_is_refused(
    tamper: Callable[[Sent, Account, Random], None], drawn: tuple[Account, Sent], seed: int
) -> None:
    account, sent = drawn
    tamper(sent, account, Random(seed))
    with pytest.raises(InvalidInputError):
        _verified(sent)


@given(commits(), st.integers())
def test_a_lost_block_is_missed_or_was_not_needed(drawn: tuple[Account, Sent], seed: int) -> None:
    _, sent = drawn
    whole = _verified(sent)
    del sent.blocks[Random(seed).choice(sorted(sent.blocks))]
    if not sent.blocks:
        return
    with contextlib.suppress(InvalidInputError):
        assert _verified(sent) == whole


@given(commits())
def test_without_a_root_before_only_what_was_written_is_proven(drawn: tuple[Account, Sent]) -> None:
    _, sent = drawn
    proven = _verified(sent)
    del sent.body["prevData"]
    for op in sent.body["ops"]:
        op.pop("prev", None)
    verified = _verified(sent)
    assert verified.legacy
    assert verified.commit.put == proven.commit.put
    assert verified.commit.delete == proven.commit.delete
