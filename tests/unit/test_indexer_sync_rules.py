"""The indexer's side of the chain: it agrees with ``headwater.chain``, marks what may be missing, and mends gaps."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.bus.messages import LiveAccount, LiveBroken, LiveCommit, LiveIdentity, LiveSync, Outcome, SnapshotEnd
from headwater.chain import EMPTY_TREE, StoredRepo, Verdict, judge, judge_sync
from headwater.errors import Reason
from headwater.tid import tid_from
from indexer.account_rules import follow_account, follow_identity, note_answer
from indexer.state import Repo
from indexer.sync_rules import (
    RESYNC_SECONDS,
    Desync,
    catch_up,
    desynchronize,
    follow_broken,
    follow_commit,
    follow_sync,
)
from shared_inputs import needs_inputs, read_json

DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
SECOND = 1_000_000
NOW = 1_750_000_000 * SECOND


def rev(number: int) -> str:
    return tid_from(NOW - 3_600 * SECOND + number * SECOND)


def commit(number: int, before: int | None = None, *, legacy: bool = False) -> LiveCommit:
    before = number - 1 if before is None else before
    return LiveCommit(
        did=DID,
        rev=rev(number),
        data=f"data {number}",
        seq=number,
        at_us=NOW,
        since=rev(before),
        prev_data=None if legacy else f"data {before}",
    )


def repo(at: int | None = None) -> Repo:
    return Repo(did=DID) if at is None else Repo(did=DID, rev=rev(at), data=f"data {at}")


def end(number: int, *, at_us: int = NOW, cutoff_us: int | None = None) -> SnapshotEnd:
    return SnapshotEnd(
        did=DID,
        job="job",
        attempt=1,
        epoch=0,
        lane="resync",
        outcome=Outcome.COMPLETE,
        rev=rev(number),
        data=f"data {number}",
        whole=cutoff_us is None,
        cutoff_us=cutoff_us,
        at_us=at_us,
    )


def follow(one: Repo, event: LiveCommit, *, replayed: bool = False) -> bool:
    return follow_commit(one, event, replayed=replayed, now_us=NOW)


@given(
    st.one_of(st.none(), st.integers(0, 5)),
    st.integers(0, 6),
    st.integers(0, 5),
    st.booleans(),
    st.booleans(),
)
def test_commits_are_judged_as_the_chain_says(
    at: int | None, number: int, before: int, legacy: bool, active: bool
) -> None:
    one, event = repo(at), commit(number, before, legacy=legacy)
    one.status = "active" if active else "deactivated"
    verdict = judge(StoredRepo(one.rev, one.data, active), event)
    follow(one, event)
    if not active:
        assert one.sync_state == "desynchronized"
        assert one.desync_reason == Desync.DROPPED
    else:
        assert (one.sync_state == "desynchronized") == (verdict is Verdict.DESYNC)
        assert one.rev == (rev(at) if verdict is Verdict.DROP and at is not None else event.rev)


@given(st.one_of(st.none(), st.integers(0, 3)), st.integers(0, 4), st.sampled_from(["data 1", "data 3", EMPTY_TREE]))
def test_syncs_are_judged_as_the_chain_says(at: int | None, number: int, data: str) -> None:
    one = repo(at)
    verdict = judge_sync(StoredRepo(one.rev, one.data), rev(number), data)
    follow_sync(one, LiveSync(did=DID, rev=rev(number), data=data, seq=1), replayed=False, now_us=NOW)
    assert (one.sync_state == "desynchronized") == (verdict is Verdict.DESYNC)
    assert (one.rev, one.data) == ((rev(at), f"data {at}") if verdict is Verdict.DROP and at else (rev(number), data))


@pytest.mark.parametrize("legacy", [False, True])
def test_commits_that_come_late_fill_the_gap(legacy: bool) -> None:
    one = repo(1)
    for number in (4, 5):
        assert follow(one, commit(number, legacy=legacy))
    assert (one.sync_state, one.desync_reason, one.desync_rev) == ("desynchronized", Desync.GAP, rev(4))
    follow(one, commit(2, legacy=legacy))
    assert one.sync_state == "desynchronized"
    follow(one, commit(3, legacy=legacy))
    assert (one.sync_state, one.resync_at, one.rev) == ("synchronized", None, rev(5))


def test_of_two_gaps_none_is_closed_by_commits() -> None:
    one = repo(1)
    for number in (3, 5, 2, 4):
        follow(one, commit(number))
    assert (one.sync_state, one.desync_rev) == ("desynchronized", rev(5))


def test_a_gap_does_not_hide_what_else_is_wrong() -> None:
    one = repo(1)
    follow(one, commit(3))
    follow_broken(one, LiveBroken(did=DID, seq=1, rev=rev(2), reason=Reason.COMMIT_TOO_BIG), NOW)
    follow(one, commit(2))
    assert one.sync_state == "desynchronized"


def test_what_the_replay_may_still_bring_is_known() -> None:
    one = repo()
    follow(one, commit(1), replayed=True)
    follow(one, commit(4))
    assert one.desync_reason == Desync.AWAITS_REPLAY
    for number in (2, 3):
        follow(one, commit(number), replayed=True)
    assert (one.sync_state, one.rev) == ("synchronized", rev(4))


def test_what_comes_before_the_first_live_commit_has_to_lead_up_to_it() -> None:
    one = repo()
    follow(one, commit(9))
    for number in (5, 6, 7):
        assert follow(one, commit(number), replayed=True)
        assert (one.sync_state, one.desync_reason) == ("desynchronized", Desync.AWAITS_REPLAY)
    follow(one, commit(8), replayed=True)
    assert (one.sync_state, one.rev, one.data) == ("synchronized", rev(9), "data 9")


def test_a_commit_that_the_replay_does_not_bring_is_missed() -> None:
    one = repo()
    follow(one, commit(9))
    for number in (5, 7, 8):
        follow(one, commit(number), replayed=True)
    assert (one.sync_state, one.desync_rev) == ("desynchronized", rev(8))


@pytest.mark.parametrize(("at", "state"), [(3, "desynchronized"), (4, "synchronized"), (6, "synchronized")])
def test_a_snapshot_mends_what_it_reaches(at: int, state: str) -> None:
    one = repo(1)
    follow(one, commit(4, 2))
    catch_up(one, end(at), None, NOW)
    assert one.sync_state == state
    assert (one.resync_at is None) == (state == "synchronized")


def test_a_snapshot_at_the_other_end_of_the_gap_closes_it() -> None:
    one = repo(1)
    follow(one, commit(4))
    catch_up(one, end(3), None, NOW)
    assert one.sync_state == "synchronized"


def test_a_narrower_snapshot_does_not_mend() -> None:
    one = repo(1)
    one.tracked_from = NOW - 100 + 600 * SECOND
    follow(one, commit(4, 2))
    catch_up(one, end(5, cutoff_us=NOW - 50), one.kept_from, NOW)
    assert one.sync_state == "desynchronized"
    catch_up(one, end(5, cutoff_us=NOW - 100), one.kept_from, NOW)
    assert one.sync_state == "synchronized"


def test_a_claim_that_never_comes_true_is_believed_three_times() -> None:
    one = repo(1)
    follow_broken(one, LiveBroken(did=DID, seq=1, rev=rev(9), reason=Reason.BAD_SIGNATURE), NOW)
    for tries in (1, 2):
        one.resync_tries = tries
        catch_up(one, end(2), None, NOW)
        assert one.sync_state == "desynchronized"
    one.resync_tries = 3
    catch_up(one, end(2), None, NOW)
    assert one.sync_state == "synchronized"


@pytest.mark.parametrize("claimed", ["zzzzzzzzzzzzz", "jzzzzzzzzzzzz", "", None, tid_from(NOW + 3_600 * SECOND)])
def test_a_claim_that_cannot_be_is_not_believed(claimed: str | None) -> None:
    one = repo(1)
    follow_broken(one, LiveBroken(did=DID, seq=1, rev=claimed, reason=Reason.COMMIT_REV), NOW)
    assert (one.sync_state, one.desync_rev) == ("desynchronized", rev(1))


def test_a_refused_frame_below_the_floor_asks_for_nothing() -> None:
    one = repo(5)
    one.floor_rev = rev(5)
    follow_broken(one, LiveBroken(did=DID, seq=1, rev=rev(4), reason=Reason.COMMIT_REV), NOW)
    assert one.sync_state == "synchronized"


def test_a_host_that_breaks_its_chain_for_ever_is_asked_ever_more_rarely() -> None:
    one, now, waits = repo(1), NOW, []
    for tries in range(8):
        desynchronize(one, Desync.SYNC, rev(2), now)
        assert one.resync_at is not None
        waits.append((one.resync_at - now) // SECOND)
        now = one.resync_at
        one.resync_tries, one.resync_filed_at = tries + 1, now
        catch_up(one, end(3), None, NOW)
    assert waits == [2, *RESYNC_SECONDS]
    now += 2 * 86_400 * SECOND
    desynchronize(one, Desync.SYNC, rev(2), now)
    assert one.resync_at == now + 2 * SECOND


def account(at: int, active: bool, status: str | None = None) -> LiveAccount:
    return LiveAccount(did=DID, seq=1, at_us=NOW - 3_600 * SECOND + at * SECOND, active=active, status=status)


@pytest.mark.parametrize(
    ("status", "kept"),
    [("deactivated",) * 2, ("suspended",) * 2, ("takendown", "taken_down"), ("deleted",) * 2, ("odd", "inactive")],
)
def test_an_account_that_comes_back_is_fetched(status: str, kept: str) -> None:
    one = repo(1)
    follow_account(one, account(2, False, status), NOW)
    assert one.status == kept
    assert not follow(one, commit(3))
    follow_account(one, account(4, True), NOW)
    assert (one.status, one.sync_state, one.desync_rev) == ("active", "desynchronized", rev(3))
    assert follow(one, commit(5, 4))


def test_the_newest_statement_holds_in_any_order() -> None:
    events = [account(1, False, "deactivated"), account(2, True), account(3, False, "suspended")]
    for order in permutations(events):
        one = repo(1)
        for event in order:
            follow_account(one, event, NOW)
        assert one.status == "suspended"
        note_answer(one, "active", events[1].at_us)
        assert one.status == "suspended"
        note_answer(one, "active", 0)
        assert one.status == "suspended"
        note_answer(one, "active", NOW)
        assert one.status == "active"


def test_a_deletion_counts_once_and_what_was_before_stays_void() -> None:
    one = repo(5)
    one.floor_rev = rev(4)
    assert follow_account(one, account(8, False, "deleted"), NOW)
    assert not follow_account(one, account(8, False, "deleted"), NOW)
    assert (one.epoch, one.rev, one.floor_rev, one.purging) == (1, None, None, True)
    follow_account(one, account(9, True), NOW)
    assert not follow(one, commit(7, 6))
    assert follow(one, commit(10, 9))


def test_an_identity_that_is_older_changes_nothing() -> None:
    one = repo()
    for at, handle in ((2, "two.test"), (1, "one.test")):
        follow_identity(one, LiveIdentity(did=DID, seq=1, at_us=at, handle=handle, pds=f"https://{at}.test"), NOW)
    assert (one.handle, one.pds) == ("two.test", "https://2.test")
    follow_identity(one, LiveIdentity(did=DID, seq=1, at_us=3), NOW)
    assert (one.handle, one.pds) == (None, "https://2.test")


def test_of_commits_that_undid_themselves_all_have_to_come_if_one_does() -> None:
    one = repo(1)
    # 2 and 3 were missed, and 3 leads back to where 1 was.
    last = msgspec.structs.replace(commit(4), prev_data="data 1")
    follow(one, last)
    assert one.sync_state == "synchronized"
    follow(one, commit(2))
    assert (one.sync_state, one.desync_reason) == ("desynchronized", Desync.GAP)
    follow(one, msgspec.structs.replace(commit(3), data="data 1"))
    assert one.sync_state == "synchronized"


@needs_inputs
@pytest.mark.parametrize("name", ["deactivation", "account_lifecycle", "rev_ordering"])
def test_what_a_recorded_scenario_expects_to_be_dropped_moves_nothing(name: str) -> None:
    one, now = Repo(did=DID), NOW + 1_000_000_000 * SECOND
    for number, step in enumerate(read_json(f"firehose/{name}.json")["messages"]):
        kind, body = step["frame"]["header"]["t"], step["frame"]["body"]
        before = (one.rev, one.data)
        if kind == "#account":
            said = LiveAccount(did=DID, seq=1, at_us=number, active=body["active"], status=body.get("status"))
            follow_account(one, said, now)
        elif kind == "#commit":
            data = body["commit"]["$link"]
            event = LiveCommit(did=DID, rev=body["rev"], data=data, seq=1, at_us=number, since=body["since"])
            follow_commit(one, event, replayed=False, now_us=now)
            assert ((one.rev, one.data) == before) == step["drop"]
        elif kind == "#sync" and one.status != "active":
            follow_sync(one, LiveSync(did=DID, rev=body["rev"], data="x", seq=1), replayed=False, now_us=now)
            assert (one.rev, one.data) == before


def test_what_was_dropped_does_not_come_back_by_a_second_delivery() -> None:
    """A later commit, dropped as well, may have deleted what it brought."""
    one = repo(1)
    follow_account(one, account(2, False, "deactivated"), NOW)
    follow(one, commit(3, 1))
    follow(one, commit(4))
    follow_account(one, account(5, True), NOW)
    assert not follow(one, commit(3, 1))
    assert (one.sync_state, one.desync_rev) == ("desynchronized", rev(4))
