"""The one tree of errors, and every reason for which Headwater refuses something.

    HeadwaterError
    ├── InvalidInputError    somebody else's bytes are wrong: count by reason, dead-letter, go on
    ├── TransientError       may go well later: retry with delay, obey retry_after
    └── InvariantError       our own state is wrong: crash loudly

``Reason`` is closed: a metric label, a job's failure and a dead letter's cause all come from it,
so what an operator can meet is listed here.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something was refused or failed. The value is what users, metrics and tables see."""

    # A CAR file (CARv1 with sha2-256 CIDv1 blocks; https://ipld.io/specs/transport/car/carv1/).
    CAR_HEADER = "car_header"
    CAR_TRUNCATED = "car_truncated"
    CAR_SECTION = "car_section"
    CAR_TOO_LARGE = "car_too_large"
    BLOCK_HASH = "block_hash"
    BLOCK_TOO_LARGE = "block_too_large"
    BLOCK_MISSING = "block_missing"
    CID_UNSUPPORTED = "cid_unsupported"
    # A commit (https://atproto.com/specs/repository).
    COMMIT_MALFORMED = "commit_malformed"
    COMMIT_DID = "commit_did"
    COMMIT_REV = "commit_rev"
    BAD_SIGNATURE = "bad_signature"
    # The MST.
    MST_MALFORMED = "mst_malformed"
    MST_ORDER = "mst_order"
    MST_LAYER = "mst_layer"
    MST_KEY = "mst_key"
    MST_INCOMPLETE = "mst_incomplete"
    # A firehose frame (https://atproto.com/specs/event-stream), and what its commit claims.
    FRAME_MALFORMED = "frame_malformed"
    FRAME_TOO_LARGE = "frame_too_large"
    FRAME_FIELD = "frame_field"
    FRAME_OP = "frame_op"
    COMMIT_TOO_BIG = "commit_too_big"
    COMMIT_CID = "commit_cid"
    COMMIT_OPS = "commit_ops"
    COMMIT_PREV_DATA = "commit_prev_data"
    # A record (https://atproto.com/specs/data-model).
    RECORD_CBOR = "record_cbor"
    RECORD_NOT_MAP = "record_not_map"
    RECORD_FLOAT = "record_float"
    RECORD_INTEGER = "record_integer"
    RECORD_TYPE = "record_type"
    RECORD_TOO_DEEP = "record_too_deep"
    RECORD_TOO_LARGE = "record_too_large"
    RECORD_MISSING = "record_missing"
    RECORD_UNWRITABLE = "record_unwritable"
    # Identifiers (https://atproto.com/specs/did, handle, nsid, record-key, tid, at-uri-scheme).
    SYNTAX = "syntax"
    # Identity and hosts: what a job can fail with.
    UNRESOLVABLE = "unresolvable"
    HANDLE_MISMATCH = "handle_mismatch"
    NO_PDS = "no_pds"
    NO_KEY = "no_key"
    HOST_FORBIDDEN = "host_forbidden"
    NOT_FOUND = "not_found"
    DEACTIVATED = "deactivated"
    SUSPENDED = "suspended"
    TAKEN_DOWN = "taken_down"
    UNREACHABLE = "unreachable"
    REFUSED_BY_HOST = "refused_by_host"
    RESPONSE_MALFORMED = "response_malformed"
    OPTED_OUT = "opted_out"
    ACCOUNT_DELETED = "account_deleted"
    # The bus.
    MESSAGE_MALFORMED = "message_malformed"
    # A mistake of ours that one input brought out; the log has the traceback.
    INTERNAL = "internal"


class HeadwaterError(Exception):
    """The root of all errors that Headwater raises on purpose."""


class InvalidInputError(HeadwaterError):
    """Bytes from outside break a rule; trying again will not help.

    ``reason`` is for counting and for people, ``detail`` says what exactly was found (bounded, no secrets).
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


class TransientError(HeadwaterError):
    """It may go well later. ``retry_after`` is in seconds when the other side named it."""

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class InvariantError(HeadwaterError):
    """A promise of our own is broken; the process must stop rather than write on."""
