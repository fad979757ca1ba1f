"""The messages of the record lanes: columnar batches in MessagePack, and how they are encoded.

A batch holds the records of one repo, decoded: each record's JSON text (``$link`` and ``$bytes`` as in the data
model, https://atproto.com/specs/data-model), its effective time and its subject. Whoever reads the bus reads that;
the indexer hands the columns to COPY and parses no record. Metadata stands once per batch.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from headwater.errors import InvalidInputError, Reason

MAX_RECORDS_PER_BATCH = 1_000
"""More records than this do not go into one message."""
MAX_BATCH_BYTES = 512 * 1024
"""A batch is closed at this many bytes of JSON; a single larger record travels alone."""


class Outcome(StrEnum):
    """How a snapshot's publishing ended."""

    COMPLETE = "complete"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Rows(msgspec.Struct, frozen=True):
    """Records as columns of equal length; row ``i`` is the i-th element of each.

    ``created_at`` is the effective time in microseconds since 1970. ``raw`` maps a row's index to its original
    block, for the few records whose value the JSON cannot hold (U+0000).
    """

    collection: list[str] = []
    rkey: list[str] = []
    cid: list[str] = []
    created_at: list[int] = []
    subject: list[str | None] = []
    record: list[str] = []
    raw: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self.rkey)


class Keys(msgspec.Struct, frozen=True):
    """Record keys as columns of equal length."""

    collection: list[str] = []
    rkey: list[str] = []

    def __len__(self) -> int:
        return len(self.rkey)


class SnapshotBatch(msgspec.Struct, frozen=True, tag="snapshot_batch", kw_only=True):
    """Part ``batch`` (from 0) of one repo's snapshot at ``rev``.

    ``put`` are the records in scope. ``held`` are records outside the scope, sent when the table already holds rows
    of the repo: they refresh a row that exists and never make one. ``keys`` are keys outside the scope without
    content: the sweep must not take their rows for vanished. ``whole`` is true when the scope is the whole repo,
    but for collections that are not wanted.
    """

    did: str
    rev: str
    job: str
    attempt: int
    epoch: int
    whole: bool
    batch: int
    put: Rows = Rows()
    held: Rows = Rows()
    keys: Keys = Keys()


class SnapshotEnd(msgspec.Struct, frozen=True, tag="snapshot_end", kw_only=True):
    """The last message of a job's attempt: what must be committed before the sweep may run, or why there is nothing.

    ``last`` is the last batch, which travels with it: most repos are a single message. ``batches`` and ``records`` (the
    ``put`` rows of all batches) are totals, with that one. ``rev`` and ``data`` (the CID of the
    MST's root) are of the commit; empty when the outcome is failed or cancelled before one was verified.
    ``days`` were asked for, and ``cutoff_us`` is the scope: None is all time. ``collections`` is the filter of the job
    (``CollectionFilter.text``, empty is all). ``at_us`` is when the account's host was asked, in microseconds since
    1970; 0 if nobody was (an imported file). ``rejected`` counts refused records by reason. ``reason`` and ``detail``
    say why an outcome is failed.
    """

    did: str
    job: str
    attempt: int
    epoch: int
    lane: str
    outcome: Outcome
    rev: str = ""
    data: str = ""
    whole: bool = False
    days: int = 0
    cutoff_us: int | None = None
    collections: str = ""
    at_us: int = 0
    batches: int = 0
    records: int = 0
    rejected: dict[str, int] = {}
    handle: str | None = None
    pds: str | None = None
    reason: str | None = None
    detail: str | None = None
    last: SnapshotBatch | None = None


class LiveCommit(msgspec.Struct, frozen=True, kw_only=True, tag="commit"):
    """One verified commit from the firehose: the records it wrote and the keys it deleted, all at ``rev``.

    ``at_us`` is the relay's time of the event in microseconds since 1970, here and in the events below.
    """

    did: str
    rev: str
    data: str
    seq: int
    at_us: int = 0
    since: str | None = None
    prev_data: str | None = None
    put: Rows = Rows()
    delete: Keys = Keys()


class LiveSync(msgspec.Struct, frozen=True, kw_only=True, tag="sync"):
    """A verified ``#sync``: the repo is at this rev and tree root (base32), whatever it was before."""

    did: str
    rev: str
    data: str
    seq: int
    at_us: int = 0


class LiveAccount(msgspec.Struct, frozen=True, kw_only=True, tag="account"):
    """``#account``: the account's status at its host. ``status`` says why it is not active, in the host's words."""

    did: str
    seq: int
    at_us: int = 0
    active: bool
    status: str | None = None


class LiveIdentity(msgspec.Struct, frozen=True, kw_only=True, tag="identity"):
    """``#identity``, after the DID was resolved anew: its PDS, and its handle if that is verified both ways."""

    did: str
    seq: int
    at_us: int = 0
    handle: str | None = None
    pds: str | None = None


class LiveBroken(msgspec.Struct, frozen=True, kw_only=True, tag="broken"):
    """A commit or ``#sync`` of this repo that was refused: it may have changed in a way that nobody saw.

    ``rev`` is what the frame claimed, ``reason`` one of ``headwater.errors.Reason``.
    """

    did: str
    seq: int
    at_us: int = 0
    rev: str | None = None
    reason: str


LiveEvent = LiveCommit | LiveSync | LiveAccount | LiveIdentity | LiveBroken


class LiveBatch(msgspec.Struct, frozen=True, tag="live_batch", kw_only=True):
    """Events of one partition, in the relay's order: from the live tail, or from the replay of its past."""

    relay: str
    events: list[LiveEvent]


BackfillMessage = SnapshotBatch | SnapshotEnd

_encoder = msgspec.msgpack.Encoder()
_backfill = msgspec.msgpack.Decoder(SnapshotBatch | SnapshotEnd)
_live = msgspec.msgpack.Decoder(LiveBatch)


def encode(message: SnapshotBatch | SnapshotEnd | LiveBatch) -> bytes:
    """A message of the record lanes as MessagePack."""
    return _encoder.encode(message)


def decode_backfill(payload: bytes) -> BackfillMessage:
    """A message of ``records.backfill``. Raises InvalidInputError(MESSAGE_MALFORMED)."""
    try:
        message: BackfillMessage = _backfill.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(Reason.MESSAGE_MALFORMED, str(error)) from error
    if (batch := batch_of(message)) is not None:
        _check_rows(batch.put)
        _check_rows(batch.held)
        _check_keys(batch.keys)
        if (batch.did, batch.job, batch.attempt, batch.epoch) != (
            message.did,
            message.job,
            message.attempt,
            message.epoch,
        ):
            raise InvalidInputError(Reason.MESSAGE_MALFORMED, "an end with a batch of another attempt")
    return message


def batch_of(message: BackfillMessage) -> SnapshotBatch | None:
    """The batch that a message is, or brings along."""
    return message if isinstance(message, SnapshotBatch) else message.last


def decode_live(payload: bytes) -> LiveBatch:
    """A message of ``records.live`` or ``records.replay``. Raises InvalidInputError(MESSAGE_MALFORMED)."""
    try:
        message: LiveBatch = _live.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(Reason.MESSAGE_MALFORMED, str(error)) from error
    for event in message.events:
        if isinstance(event, LiveCommit):
            _check_rows(event.put)
            _check_keys(event.delete)
    return message


def _check_rows(rows: Rows) -> None:
    size = len(rows.rkey)
    columns = (rows.collection, rows.cid, rows.created_at, rows.subject, rows.record)
    if any(len(column) != size for column in columns):
        raise InvalidInputError(Reason.MESSAGE_MALFORMED, "columns of unequal length")


def _check_keys(keys: Keys) -> None:
    if len(keys.collection) != len(keys.rkey):
        raise InvalidInputError(Reason.MESSAGE_MALFORMED, "columns of unequal length")
