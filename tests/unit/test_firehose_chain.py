"""What continues a repo, what is old, and what leaves a gap; and the recorded scenarios with what they expect."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from firehose_backfill.verify import verify_commit, verify_sync
from headwater.bus.messages import LiveCommit
from headwater.chain import EMPTY_TREE, StoredRepo, Verdict, judge, judge_sync
from headwater.cid import parse_cid_text
from headwater.errors import InvalidInputError
from headwater.frame_reader import parse_frame
from headwater.frames import AccountFrame, CommitFrame, SyncFrame
from headwater.keys import PublicKey, parse_multikey
from naive_firehose import NOW_US, Account, message, rev
from naive_repo import link
from shared_inputs import needs_inputs, read_json

AT_2 = StoredRepo(rev(2), "data 2")


def _commit(number: int, since: str | None, prev_data: str | None) -> LiveCommit:
    return LiveCommit(did="did:plc:x", rev=rev(number), data="data", seq=1, since=since, prev_data=prev_data)


@pytest.mark.parametrize(
    ("stored", "commit", "verdict"),
    [
        (None, _commit(1, None, None), Verdict.APPLY),
        (None, _commit(9, rev(8), "data 8"), Verdict.APPLY),
        (StoredRepo(None, None), _commit(9, rev(8), "data 8"), Verdict.APPLY),
        (AT_2, _commit(3, rev(2), "data 2"), Verdict.APPLY),
        (AT_2, _commit(2, rev(1), "data 1"), Verdict.DROP),
        (AT_2, _commit(1, rev(0), "data 2"), Verdict.DROP),
        (AT_2, _commit(4, rev(3), "data 3"), Verdict.DESYNC),
        (AT_2, _commit(3, rev(2), "data 1"), Verdict.DESYNC),
        # What was missed has undone itself: nothing is missing.
        (AT_2, _commit(5, rev(4), "data 2"), Verdict.APPLY),
        # Without prevData there is only since.
        (AT_2, _commit(3, rev(2), None), Verdict.APPLY),
        (AT_2, _commit(4, rev(3), None), Verdict.DESYNC),
        (AT_2, _commit(3, None, None), Verdict.DESYNC),
        (StoredRepo(rev(2), None), _commit(3, rev(2), "data 2"), Verdict.APPLY),
        (StoredRepo(rev(2), None), _commit(4, rev(3), "data 3"), Verdict.DESYNC),
        (replace(AT_2, active=False), _commit(3, rev(2), "data 2"), Verdict.DROP),
    ],
)
def test_commits(stored: StoredRepo | None, commit: LiveCommit, verdict: Verdict) -> None:
    assert judge(stored, commit) is verdict


@pytest.mark.parametrize(
    ("stored", "number", "data", "verdict"),
    [
        (None, 1, EMPTY_TREE, Verdict.APPLY),
        (None, 1, "data", Verdict.DESYNC),
        (StoredRepo(None, None), 1, "data", Verdict.DESYNC),
        (AT_2, 2, "data 2", Verdict.APPLY),
        (AT_2, 3, "data 2", Verdict.APPLY),
        (AT_2, 3, "data 3", Verdict.DESYNC),
        (AT_2, 2, "data 3", Verdict.DESYNC),
        (AT_2, 1, "data 1", Verdict.DROP),
        (replace(AT_2, active=False), 3, "data 3", Verdict.DROP),
    ],
)
def test_syncs(stored: StoredRepo | None, number: int, data: str, verdict: Verdict) -> None:
    assert judge_sync(stored, rev(number), data) is verdict


def test_the_empty_tree() -> None:
    assert parse_cid_text(EMPTY_TREE) == Account().tree()[0]


def _ipld(value: Any) -> Any:
    """The values of a scenario's JSON as they are encoded."""
    if isinstance(value, dict) and "$bytes" in value:
        text = value["$bytes"]
        return base64.b64decode(text + "=" * (-len(text) % 4))
    if isinstance(value, dict) and "$link" in value:
        return link(parse_cid_text(value["$link"]))
    if isinstance(value, dict):
        return {name: _ipld(item) for name, item in value.items()}
    return [_ipld(item) for item in value] if isinstance(value, list) else value


class _Reader:
    """A consumer of one account: verifies, judges, and keeps what a table would."""

    def __init__(self, key: PublicKey) -> None:
        self.stored: StoredRepo | None = None
        self.keys: set[str] = set()
        self.verdicts: list[Verdict | None] = []
        self._key = key

    def take(self, frame_bytes: bytes) -> None:
        try:
            frame = parse_frame(frame_bytes)
            self.verdicts.append(self._take(frame))
        except InvalidInputError:
            self.verdicts.append(None)

    def _take(self, frame: object) -> Verdict:
        verdict = Verdict.APPLY
        if isinstance(frame, CommitFrame):
            commit = verify_commit(frame, self._key, NOW_US, 1_000_000).commit
            verdict = judge(self.stored, commit)
            if verdict is not Verdict.DROP:
                self.stored = StoredRepo(commit.rev, commit.data)
                self.keys |= set(commit.put.rkey)
                self.keys -= set(commit.delete.rkey)
        elif isinstance(frame, SyncFrame):
            sync = verify_sync(frame, self._key, NOW_US)
            verdict = judge_sync(self.stored, sync.rev, sync.data)
            self.stored = StoredRepo(sync.rev, sync.data)
        elif isinstance(frame, AccountFrame):
            self.stored = replace(self.stored or StoredRepo(None, None), active=frame.active)
        return verdict


def _play(name: str) -> tuple[_Reader, list[bool]]:
    scenario = read_json(f"firehose/{name}.json")
    key = scenario["accounts"][0]["identity"]["keys"]["atproto"]["publicKeyMultibase"]
    reader = _Reader(parse_multikey(key))
    for step in scenario["messages"]:
        reader.take(message(step["frame"]["header"]["t"], _ipld(step["frame"]["body"])))
    return reader, [step["drop"] for step in scenario["messages"]]


@needs_inputs
@pytest.mark.parametrize(
    "name", ["post_lifecycle", "post_lifecycle_legacy", "rev_ordering", "deactivation", "legacy", "account_lifecycle"]
)
def test_what_a_scenario_expects_to_be_dropped_is(name: str) -> None:
    reader, drops = _play(name)
    assert [verdict in (None, Verdict.DROP) for verdict in reader.verdicts] == drops


@needs_inputs
def test_an_unbroken_series_of_commits_is_applied_and_proven() -> None:
    reader, _ = _play("post_lifecycle")
    assert reader.verdicts == [Verdict.APPLY] * 6
    assert reader.keys == {"3lmxk35znys2k", "self"}


@needs_inputs
def test_gaps_in_legacy_commits_are_seen() -> None:
    reader, _ = _play("post_lifecycle_legacy")
    assert reader.verdicts == [Verdict.APPLY, Verdict.DESYNC, *[Verdict.APPLY] * 4]


@needs_inputs
def test_a_repeated_seq_changes_nothing() -> None:
    """The scenario drops by seq what came out of order; here the rev decides, and it ends the same."""
    reader, drops = _play("seq_ordering")
    assert drops == [False, True, True, False]
    assert reader.verdicts == [Verdict.APPLY, Verdict.APPLY, Verdict.APPLY, Verdict.DROP]
    assert reader.keys == {"3llpyftcvih2r"}
