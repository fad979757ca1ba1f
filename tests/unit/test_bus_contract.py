"""The bus contract: partitions, keys, messages and what people see of a job."""

from __future__ import annotations

import msgspec
import pytest

from headwater.bus.jobs import (
    BackfillRequest,
    CancelPart,
    FetchPart,
    FetchState,
    IndexPart,
    IndexState,
    JobState,
    fold,
    job_key,
)
from headwater.bus.messages import (
    Keys,
    LiveAccount,
    LiveBatch,
    LiveBroken,
    LiveCommit,
    LiveIdentity,
    LiveSync,
    Outcome,
    Rows,
    SnapshotBatch,
    SnapshotEnd,
    decode_backfill,
    decode_live,
    encode,
)
from headwater.bus.subjects import PARTITIONS, RequestLane, did_token, owned_partitions, partition, request_subject
from headwater.errors import InvalidInputError, Reason

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
ROWS = Rows(
    collection=["app.bsky.feed.post"],
    rkey=["3l"],
    cid=["bafy"],
    created_at=[1],
    subject=[None],
    record=["{}"],
    raw={0: b"\x00"},
)
LAST = SnapshotBatch(did=DID, rev="r", job="j", attempt=1, epoch=0, whole=True, batch=0, put=ROWS)


def test_partition_is_pinned() -> None:
    # A change of these numbers would send a repo's messages to another worker than the one that holds its past.
    assert [partition(did) for did in (DID, "did:web:example.com", "did:plc:hostilefixtureaaaaaaaaaa")] == [4, 5, 5]


@pytest.mark.parametrize("count", [1, 2, 3, 16, 20])
def test_every_partition_has_one_owner(count: int) -> None:
    owned = [p for worker in range(count) for p in owned_partitions(worker, count)]
    assert sorted(owned) == list(range(PARTITIONS))


def test_tokens_are_single_and_distinct() -> None:
    dids = [DID, "did:web:a.b", "did:web:a%3Ab", "did:web:a:b", "did:web:a-b", "did:web:a_b"]
    tokens = [did_token(did) for did in dids]
    assert len(set(tokens)) == len(dids)
    assert not any(set(token) & set(".*> :%") for token in tokens)
    assert request_subject(RequestLane.USER, "did:web:a.b").count(".") == 2
    assert job_key(DID, "j", "fetch").count(".") == 2


@pytest.mark.parametrize(
    "message",
    [
        SnapshotBatch(
            did=DID, rev="r", job="j", attempt=1, epoch=0, whole=False, batch=3, put=ROWS, keys=Keys(["c"], ["k"])
        ),
        SnapshotEnd(did=DID, job="j", attempt=2, epoch=1, lane="user", outcome=Outcome.FAILED, reason="not_found"),
        SnapshotEnd(did=DID, job="j", attempt=1, epoch=0, lane="user", outcome=Outcome.COMPLETE, last=LAST),
    ],
)
def test_backfill_messages_survive_the_bus(message: SnapshotBatch | SnapshotEnd) -> None:
    assert decode_backfill(encode(message)) == message


def test_live_messages_survive_the_bus() -> None:
    commit = LiveCommit(did=DID, rev="r", data="bafy", seq=1, put=ROWS, delete=Keys(["c"], ["k"]))
    events = [
        commit,
        LiveSync(did=DID, rev="r", data="bafy", seq=2, at_us=5),
        LiveAccount(did=DID, seq=3, active=False, status="deleted"),
        LiveIdentity(did=DID, seq=4, handle="a.test", pds="https://pds.test"),
        LiveBroken(did=DID, seq=5, rev="r", reason=Reason.BAD_SIGNATURE.value),
    ]
    message = LiveBatch(relay="wss://relay", events=events)
    assert decode_live(encode(message)) == message


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"not messagepack",
        msgspec.msgpack.encode({"type": "unknown"}),
        msgspec.msgpack.encode({"type": "snapshot_end", "did": 7}),
        encode(
            SnapshotBatch(
                did=DID, rev="r", job="j", attempt=1, epoch=0, whole=True, batch=0, put=Rows(collection=["a"], rkey=[])
            )
        ),
        encode(
            SnapshotBatch(
                did=DID, rev="r", job="j", attempt=1, epoch=0, whole=True, batch=0, keys=Keys(collection=["a"])
            )
        ),
        *(
            encode(SnapshotEnd(did=DID, job="j", attempt=1, epoch=0, lane="user", outcome=Outcome.COMPLETE, last=last))
            for last in (
                msgspec.structs.replace(LAST, keys=Keys(collection=["a"])),
                msgspec.structs.replace(LAST, attempt=2),
                msgspec.structs.replace(LAST, did="did:plc:other"),
                msgspec.structs.replace(LAST, epoch=1),
                msgspec.structs.replace(LAST, job="other"),
            )
        ),
    ],
)
def test_malformed_messages_are_refused(payload: bytes) -> None:
    with pytest.raises(InvalidInputError) as refused:
        decode_backfill(payload)
    assert refused.value.reason is Reason.MESSAGE_MALFORMED


REQUEST = BackfillRequest(
    job_id="j", did=DID, days=7, cutoff_us=5, requested_at_us=100, requested_by="user", actor="alice.test"
)


@pytest.mark.parametrize(
    ("cancel", "fetch", "index", "state"),
    [
        (None, None, None, JobState.QUEUED),
        (CancelPart(requested_at_us=1), None, None, JobState.CANCELLED),
        (None, FetchPart(state=FetchState.RESOLVING), None, JobState.RESOLVING),
        (CancelPart(requested_at_us=1), FetchPart(state=FetchState.FETCHING), None, JobState.FETCHING),
        (None, FetchPart(state=FetchState.FETCHING), IndexPart(state=IndexState.INDEXING), JobState.FETCHING),
        (None, FetchPart(state=FetchState.PUBLISHED), None, JobState.INDEXING),
        (None, FetchPart(state=FetchState.PUBLISHED), IndexPart(state=IndexState.INDEXING), JobState.INDEXING),
        (None, FetchPart(state=FetchState.PUBLISHED), IndexPart(state=IndexState.DONE), JobState.DONE),
        (None, FetchPart(state=FetchState.PUBLISHED), IndexPart(state=IndexState.CANCELLED), JobState.CANCELLED),
        (None, FetchPart(state=FetchState.PUBLISHED), IndexPart(state=IndexState.SUPERSEDED), JobState.INDEXING),
        (None, FetchPart(state=FetchState.WAITING), None, JobState.QUEUED),
        (None, FetchPart(state=FetchState.FAILED, reason=Reason.NOT_FOUND), None, JobState.FAILED),
        (None, FetchPart(state=FetchState.CANCELLED), None, JobState.CANCELLED),
        # The word of an attempt that was given up does not count for the next one.
        (
            None,
            FetchPart(state=FetchState.FETCHING, attempt=2),
            IndexPart(state=IndexState.FAILED, attempt=1),
            JobState.FETCHING,
        ),
        # Unless that attempt did get everything into the table.
        (
            None,
            FetchPart(state=FetchState.FETCHING, attempt=2),
            IndexPart(state=IndexState.DONE, attempt=1),
            JobState.DONE,
        ),
    ],
)
def test_fold_states(
    cancel: CancelPart | None, fetch: FetchPart | None, index: IndexPart | None, state: JobState
) -> None:
    assert fold(REQUEST, cancel, fetch, index).state is state


def test_what_an_attempt_has_brought_is_not_hidden_by_the_next_one() -> None:
    begun_anew = FetchPart(state=FetchState.FETCHING, attempt=2)
    done = IndexPart(state=IndexState.DONE, attempt=1, rev="3kaaaaaaaaa2a", rejected={"record_cbor": 1})
    job = fold(REQUEST, None, begun_anew, done)
    assert (job.state, job.rev, job.rejected) == (JobState.DONE, "3kaaaaaaaaa2a", {"record_cbor": 1})


def test_fold_says_why_and_when() -> None:
    failed = fold(REQUEST, None, FetchPart(state=FetchState.FAILED, reason=Reason.DEACTIVATED, updated_at_us=200), None)
    assert (failed.reason, failed.finished_at_us) == (Reason.DEACTIVATED, 200)
    waiting = fold(
        REQUEST, None, FetchPart(state=FetchState.WAITING, reason=Reason.UNREACHABLE, next_try_at_us=900), None
    )
    assert (waiting.reason, waiting.next_try_at_us, waiting.finished_at_us) == (Reason.UNREACHABLE, 900, None)
    # A reason of an earlier try is not shown once the job goes on.
    again = fold(REQUEST, None, FetchPart(state=FetchState.FETCHING, reason=Reason.UNREACHABLE), None)
    assert again.reason is None
    by_indexer = fold(
        REQUEST,
        None,
        FetchPart(state=FetchState.PUBLISHED),
        IndexPart(state=IndexState.FAILED, reason=Reason.ACCOUNT_DELETED),
    )
    assert (by_indexer.state, by_indexer.reason) == (JobState.FAILED, Reason.ACCOUNT_DELETED)


@pytest.mark.parametrize(
    ("fetch", "index", "at"),
    [
        (FetchState.PUBLISHED, IndexState.DONE, 300),
        (FetchState.FETCHING, IndexState.DONE, 300),
        (FetchState.PUBLISHED, IndexState.FAILED, 300),
        (FetchState.FAILED, IndexState.INDEXING, 400),
    ],
)
def test_what_is_written_after_the_end_does_not_move_it(fetch: FetchState, index: IndexState, at: int) -> None:
    """A worker that has not heard of a job's end in time writes that all is published."""
    job = fold(REQUEST, None, FetchPart(state=fetch, updated_at_us=400), IndexPart(state=index, updated_at_us=300))
    assert job.state.final
    assert (job.finished_at_us, job.updated_at_us) == (at, at)


def test_an_end_that_is_told_twice_is_the_first() -> None:
    failed = FetchPart(state=FetchState.FAILED, updated_at_us=200)
    assert fold(REQUEST, None, failed, IndexPart(state=IndexState.FAILED, updated_at_us=300)).finished_at_us == 200
