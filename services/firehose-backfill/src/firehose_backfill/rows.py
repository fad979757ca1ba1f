"""A commit's operations as columns: what to write and what to delete. Pure.

A record that cannot be used becomes a deletion: the repo holds no usable record at that key any more, and a reader
that never saw an earlier one has no row either.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from headwater.blocks import Blocks
from headwater.bus.messages import Keys, Rows
from headwater.cid import cid_text
from headwater.errors import InvalidInputError, Reason
from headwater.frames import Op
from headwater.mst_node import is_node
from headwater.record import DecodedRecord, decode_record
from headwater.record_time import effective_time

# The columns beside the JSON: collection, rkey, CID, time, subject.
_ROW_OVERHEAD: Final = 250


class RefusedRecord(NamedTuple):
    """A record that cannot be used, and why."""

    collection: str
    rkey: str
    cid: bytes
    reason: Reason
    detail: str
    block: bytes


class CommitRows(msgspec.Struct, frozen=True):
    """The operations of one commit. The keys of ``refused`` are in ``delete`` as well."""

    put: Rows
    delete: Keys
    refused: list[RefusedRecord]


def commit_rows(blocks: Blocks, ops: Iterable[Op], now_us: int, max_row_bytes: int) -> CommitRows:
    """Decode the records that the operations wrote.

    ``now_us`` (microseconds since 1970) dates what nothing else dates. ``max_row_bytes`` is what one record may take
    on the bus. Raises InvalidInputError: BLOCK_MISSING when a record is not there, MST_MALFORMED when it is a node
    of a tree.
    """
    rows = CommitRows(Rows([], [], [], [], [], [], {}), Keys([], []), [])
    for op in ops:
        if op.cid is None:
            _delete(rows.delete, op)
            continue
        block = blocks.get(op.cid)
        if is_node(block):
            raise InvalidInputError(Reason.MST_MALFORMED, f"{op.key.decode()} names a node of a tree")
        try:
            record = decode_record(block)
            _check_size(record, max_row_bytes)
        except InvalidInputError as error:
            refused = RefusedRecord(op.collection, op.rkey, op.cid, error.reason, error.detail, block)
            rows.refused.append(refused)
            _delete(rows.delete, op)
            continue
        _put(rows.put, op, op.cid, record, now_us)
    return rows


def _delete(keys: Keys, op: Op) -> None:
    keys.collection.append(op.collection)
    keys.rkey.append(op.rkey)


def _put(rows: Rows, op: Op, cid: bytes, record: DecodedRecord, now_us: int) -> None:
    if record.raw is not None:
        rows.raw[len(rows)] = record.raw
    rows.collection.append(op.collection)
    rows.rkey.append(op.rkey)
    rows.cid.append(cid_text(cid))
    rows.created_at.append(effective_time(record.created_at_us, op.rkey, now_us)[0])
    rows.subject.append(record.subject)
    rows.record.append(record.json)


def _check_size(record: DecodedRecord, max_row_bytes: int) -> None:
    raw = 0 if record.raw is None else len(record.raw)
    if (len(record.json) + raw) * 4 + _ROW_OVERHEAD <= max_row_bytes:
        return
    size = len(record.json.encode()) + raw + _ROW_OVERHEAD
    if size > max_row_bytes:
        raise InvalidInputError(Reason.RECORD_TOO_LARGE, f"{size} bytes in a message")
