"""Every made-up frame, with its verdict and the reason for it; and the real ones."""

from __future__ import annotations

from typing import Any

import pytest

from firehose_backfill.verify import verify_commit, verify_sync
from headwater.errors import InvalidInputError, Reason
from headwater.frame_reader import parse_frame, peek_repo
from headwater.frames import CommitFrame, ErrorFrame, InfoFrame, SyncFrame, UnknownFrame
from headwater.keys import parse_did_key
from naive_firehose import NOW_US
from shared_inputs import INPUTS, needs_inputs, read_json

INDEX: dict[str, Any] = read_json("hostile/index.json") or {"cases": []}
CASES = {case["file"]: case for case in INDEX["cases"] if case["layer"] == "frame"}

UNREADABLE = {
    "frame-empty.bin": Reason.FRAME_MALFORMED,
    "frame-text.bin": Reason.FRAME_MALFORMED,
    "frame-header-only.bin": Reason.FRAME_MALFORMED,
    "frame-three-objects.bin": Reason.FRAME_MALFORMED,
    "frame-negative-seq.bin": Reason.FRAME_FIELD,
}
UNPROVEN = {
    "frame-toobig.bin": Reason.COMMIT_TOO_BIG,
    "frame-repo-did-mismatch.bin": Reason.COMMIT_DID,
}
READ = {
    "frame-error.bin": ErrorFrame("FutureCursor", "Cursor in the future."),
    "frame-consumer-too-slow.bin": ErrorFrame("ConsumerTooSlow", "slow"),
    "frame-info-outdated.bin": InfoFrame("OutdatedCursor", "x"),
    "frame-unknown-type.bin": UnknownFrame("#somethingnew", 5),
    "frame-unknown-op.bin": UnknownFrame("op 7", None),
}


def _read(file: str) -> bytes:
    return (INPUTS / "hostile" / file).read_bytes()


@needs_inputs
def test_every_case_is_tested() -> None:
    assert CASES.keys() == UNREADABLE.keys() | UNPROVEN.keys() | READ.keys()
    assert {CASES[file]["expect"] for file in UNREADABLE} == {"reject"}
    assert {CASES[file]["expect"] for file in UNPROVEN} == {"reject", "resync"}
    assert {CASES[file]["expect"] for file in READ} == {"error-frame", "accept", "skip"}


@needs_inputs
@pytest.mark.parametrize("file", UNREADABLE)
def test_frames_that_cannot_be_read(file: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_frame(_read(file))
    assert refused.value.reason is UNREADABLE[file]


@needs_inputs
@pytest.mark.parametrize("file", UNPROVEN)
def test_commits_that_prove_nothing(file: str) -> None:
    frame = parse_frame(_read(file))
    assert isinstance(frame, CommitFrame)
    with pytest.raises(InvalidInputError) as refused:
        verify_commit(frame, parse_did_key(INDEX["did_key"]), NOW_US, 1_000_000)
    assert refused.value.reason is UNPROVEN[file]


@needs_inputs
@pytest.mark.parametrize("file", READ)
def test_frames_that_are_no_events(file: str) -> None:
    assert parse_frame(_read(file)) == READ[file]


@needs_inputs
def test_a_real_sync_frame() -> None:
    about = read_json("firehose/sync.json")
    message = (INPUTS / "firehose" / "sync.bin").read_bytes()
    frame = parse_frame(message)
    assert isinstance(frame, SyncFrame)
    assert peek_repo(message) == frame.did == about["did"]
    verified = verify_sync(frame, parse_did_key(about["signing_key"]), NOW_US)
    assert (verified.did, verified.rev, verified.seq) == (frame.did, frame.rev, 33955551430)
