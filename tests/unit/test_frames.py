"""Frames: what is read, what is refused and why."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from headwater.errors import InvalidInputError, Reason
from headwater.frame_reader import MAX_BLOCKS_BYTES, MAX_FRAME_BYTES, MAX_OPS, parse_frame, peek_repo
from headwater.frames import (
    AccountFrame,
    CommitFrame,
    ErrorFrame,
    IdentityFrame,
    InfoFrame,
    Op,
    SyncFrame,
    UnknownFrame,
)
from naive_firehose import DID, TIME, message, rev
from naive_repo import cid_of, encode, link

CID = cid_of(b"some block")
OTHER = cid_of(b"another block")
RAW = b"\x01\x55" + CID[2:]
COMMIT: dict[str, Any] = {
    "seq": 7,
    "repo": DID,
    "time": TIME,
    "rev": rev(2),
    "since": rev(1),
    "commit": link(CID),
    "prevData": link(OTHER),
    "blocks": b"a car",
    "ops": [],
    "blobs": [],
    "rebase": False,
    "tooBig": False,
}
IDENTITY = {"seq": 8, "did": DID, "time": TIME, "handle": "Alice.Example"}
ACCOUNT = {"seq": 9, "did": DID, "time": TIME, "active": False, "status": "deactivated"}
SYNC = {"seq": 10, "did": DID, "time": TIME, "rev": rev(3), "blocks": b"a car"}
CREATE = {"action": "create", "path": "a.b.c/x", "cid": link(CID)}
UPDATE = {"action": "update", "path": "a.b.c/y", "cid": link(CID), "prev": link(OTHER)}
DELETE = {"action": "delete", "path": "a.b.c/z", "cid": None, "prev": link(OTHER)}


def _refusal(frame: bytes) -> Reason:
    with pytest.raises(InvalidInputError) as refused:
        parse_frame(frame)
    return refused.value.reason


def test_a_commit() -> None:
    frame = parse_frame(message("#commit", {**COMMIT, "ops": [CREATE, UPDATE, DELETE]}))
    assert frame == CommitFrame(
        seq=7,
        did=DID,
        time=TIME,
        rev=rev(2),
        since=rev(1),
        commit=CID,
        prev_data=OTHER,
        blocks=b"a car",
        ops=(
            Op("create", "a.b.c", "x", b"a.b.c/x", CID, None),
            Op("update", "a.b.c", "y", b"a.b.c/y", CID, OTHER),
            Op("delete", "a.b.c", "z", b"a.b.c/z", None, OTHER),
        ),
        too_big=False,
    )


def test_the_other_kinds() -> None:
    assert parse_frame(message("#sync", SYNC)) == SyncFrame(10, DID, TIME, rev(3), b"a car")
    assert parse_frame(message("#identity", IDENTITY)) == IdentityFrame(8, DID, TIME, "alice.example")
    assert parse_frame(message("#account", ACCOUNT)) == AccountFrame(9, DID, TIME, False, "deactivated")
    assert parse_frame(message("#info", {"name": "OutdatedCursor"})) == InfoFrame("OutdatedCursor", None)
    error = encode({"op": -1}) + encode({"error": "FutureCursor", "message": "no"})
    assert parse_frame(error) == ErrorFrame("FutureCursor", "no")
    assert parse_frame(message("#tombstone", {"seq": 11})) == UnknownFrame("#tombstone", 11)
    assert parse_frame(message("#new", {"seq": "x"})) == UnknownFrame("#new", None)
    assert parse_frame(encode({"op": 5, "t": "#commit"}) + encode({})) == UnknownFrame("op 5", None)


def test_what_may_be_missing_or_null() -> None:
    body = {**COMMIT, "since": None, "prevData": None, "ops": None, "blobs": None}
    frame = parse_frame(message("#commit", body))
    assert isinstance(frame, CommitFrame)
    assert (frame.since, frame.prev_data, frame.ops) == (None, None, ())
    assert parse_frame(message("#commit", {k: v for k, v in body.items() if k not in ("prevData", "since")})) == frame
    old = {"action": "delete", "path": "a.b.c/z", "cid": None}
    frame = parse_frame(message("#commit", {**COMMIT, "ops": [old]}))
    assert isinstance(frame, CommitFrame)
    assert frame.ops == (Op("delete", "a.b.c", "z", b"a.b.c/z", None, None),)
    assert parse_frame(message("#commit", {**COMMIT, "new": [1]})) == parse_frame(message("#commit", COMMIT))
    frame = parse_frame(message("#identity", {**IDENTITY, "handle": "no handle"}))
    assert frame == parse_frame(message("#identity", {"seq": 8, "did": DID, "time": TIME}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seq", -1),
        ("seq", 1 << 63),
        ("seq", "7"),
        ("repo", "alice.example"),
        ("repo", 5),
        ("time", "yesterday"),
        ("time", None),
        ("rev", "3l"),
        ("rev", rev(2)[:-1] + "0"),
        ("since", "x"),
        ("commit", None),
        ("commit", "bafy"),
        ("prevData", 5),
        ("blocks", "text"),
        ("blocks", None),
        ("ops", {}),
        ("ops", [5]),
        ("ops", [{**CREATE, "action": "drop"}]),
        ("ops", [{**CREATE, "path": 5}]),
        ("tooBig", "no"),
    ],
)
def test_a_field_that_is_not_what_it_has_to_be(field: str, value: object) -> None:
    assert _refusal(message("#commit", {**COMMIT, field: value})) is Reason.FRAME_FIELD


@pytest.mark.parametrize("field", ["seq", "repo", "time", "rev", "commit", "blocks", "ops"])
def test_a_field_that_is_not_there(field: str) -> None:
    assert _refusal(message("#commit", {k: v for k, v in COMMIT.items() if k != field})) is Reason.FRAME_FIELD


@pytest.mark.parametrize(
    "body",
    [{**ACCOUNT, "active": "yes"}, {**ACCOUNT, "did": "did:"}, {**ACCOUNT, "seq": -2}, {**ACCOUNT, "status": 4}],
)
def test_a_field_of_another_kind(body: dict[str, Any]) -> None:
    assert _refusal(message("#account", body)) is Reason.FRAME_FIELD


@pytest.mark.parametrize(
    "ops",
    [
        [{**CREATE, "path": "a.b.c"}],
        [{**CREATE, "path": "a.b.c/x/y"}],
        [{**CREATE, "path": "a.b.c/.."}],
        [{**CREATE, "path": "nothing/x"}],
        [{**CREATE, "path": "a.b.c/é"}],
        [{**CREATE, "path": "/a.b.c/x"}],
        [{**CREATE, "cid": None}],
        [{**CREATE, "prev": link(OTHER)}],
        [{**DELETE, "cid": link(CID)}],
        [{**UPDATE, "cid": None}],
        [CREATE, {**DELETE, "path": CREATE["path"]}],
    ],
)
def test_an_operation_that_cannot_be(ops: list[dict[str, Any]]) -> None:
    assert _refusal(message("#commit", {**COMMIT, "ops": ops})) is Reason.FRAME_OP


@pytest.mark.parametrize(
    "body",
    [
        {**COMMIT, "commit": link(RAW)},
        {**COMMIT, "prevData": link(CID[:-1])},
        {**COMMIT, "ops": [{**CREATE, "cid": link(RAW)}]},
        {**COMMIT, "ops": [{**UPDATE, "prev": link(RAW)}]},
    ],
)
def test_a_link_to_no_block_of_a_repo(body: dict[str, Any]) -> None:
    assert _refusal(message("#commit", body)) in (Reason.CID_UNSUPPORTED, Reason.FRAME_MALFORMED)


def test_limits() -> None:
    blocks = {**COMMIT, "blocks": b"x" * MAX_BLOCKS_BYTES}
    assert isinstance(parse_frame(message("#commit", blocks)), CommitFrame)
    assert _refusal(message("#commit", {**blocks, "blocks": blocks["blocks"] + b"x"})) is Reason.FRAME_TOO_LARGE
    ops = [{**CREATE, "path": f"a.b.c/{number}"} for number in range(MAX_OPS + 1)]
    assert isinstance(parse_frame(message("#commit", {**COMMIT, "ops": ops[1:]})), CommitFrame)
    assert _refusal(message("#commit", {**COMMIT, "ops": ops})) is Reason.FRAME_TOO_LARGE
    assert _refusal(b"\0" * (MAX_FRAME_BYTES + 1)) is Reason.FRAME_TOO_LARGE


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"hello",
        encode({"op": 1, "t": "#commit"}),
        message("#commit", COMMIT) + b"\0",
        message("#commit", COMMIT) + encode({}),
        message("#commit", COMMIT)[:-1],
        encode([1]) + encode({}),
        encode({"op": 1, "t": "#info"}) + encode(["name"]),
        b"\xbf\x62op\x01\xff" + encode({}),
        b"\xa2\x62op\x01\x61t\x65#info" + encode({"name": "x"}),
        encode({"op": 1, "t": "#info"}) + b"\xa2\x64name\x61x\x64name\x61y",
    ],
)
def test_what_is_not_a_header_and_a_body(frame: bytes) -> None:
    assert _refusal(frame) is Reason.FRAME_MALFORMED


@pytest.mark.parametrize(
    "header", [{}, {"op": "1", "t": "#info"}, {"op": True, "t": "#info"}, {"op": 1}, {"op": 1, "t": 5}]
)
def test_a_header_that_names_nothing(header: dict[str, Any]) -> None:
    assert _refusal(encode(header) + encode({"name": "x"})) is Reason.FRAME_FIELD


@pytest.mark.parametrize("nest", [b"\x9a\x00\x10\x00\x00", b"\x81", b"\xa1\x61a", b"\xba\x00\x10\x00\x00\x61a"])
def test_claims_and_depth_cost_nothing(nest: bytes) -> None:
    head = encode({"op": 1, "t": "#commit"})
    frame = head + nest * 100_000
    frame += b"\0" * (MAX_FRAME_BYTES - len(frame))
    tracemalloc.start()
    try:
        assert _refusal(frame[:MAX_FRAME_BYTES]) is Reason.FRAME_MALFORMED
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * MAX_FRAME_BYTES


def test_no_spoiled_byte_does_more_than_refuse() -> None:
    whole = message("#commit", {**COMMIT, "ops": [CREATE, UPDATE, DELETE]})
    refused = 0
    for place in range(len(whole)):
        for flip in (0x01, 0x20, 0x80, 0xFF):
            try:
                parse_frame(whole[:place] + bytes((whole[place] ^ flip,)) + whole[place + 1 :])
            except InvalidInputError:
                refused += 1
    assert refused > len(whole)


@pytest.mark.parametrize("did", [DID, "did:web:a.example", "did:web:" + "a" * 15, "did:web:" + "b" * 300])
def test_whose_frame_it_is_without_decoding(did: str) -> None:
    ops = [{**CREATE, "path": "a.b.c/drepo:did"}]
    assert peek_repo(message("#commit", {**COMMIT, "repo": did, "ops": ops})) == did
    for kind, body in (("#sync", SYNC), ("#identity", IDENTITY), ("#account", ACCOUNT), ("#new", {"did": DID})):
        assert peek_repo(message(kind, {**body, "did": did})) == did
    assert peek_repo(message("#info", {"name": "x"})) is None
    assert peek_repo(b"") is None
    assert peek_repo(message("#identity", {**IDENTITY, "did": did})[:30]) != did


def test_a_frame_that_hides_whose_it_is() -> None:
    """A record key that reads like the field would send the frame to another worker than its repo's."""
    ops = [{**CREATE, "path": "a.b.c/drepopdid:web:other.org"}]
    frame = message("#commit", {**COMMIT, "ops": ops})
    assert peek_repo(frame) == "did:web:other.or"
    assert _refusal(frame) is Reason.FRAME_MALFORMED
