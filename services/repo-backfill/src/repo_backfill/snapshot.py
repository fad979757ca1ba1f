"""A verified repo as the batches of its snapshot: records decoded, in key order, split by the job's scope. Pure.

A record that is refused is counted by reason and handed out for the dead letters; its siblings go on. So is one
whose block the CAR lacks. A scoped job does not decode what its key alone dates before the cutoff, unless the table
holds rows of the repo, which must then be refreshed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from headwater.blocks import Blocks
from headwater.bus.messages import MAX_BATCH_BYTES, MAX_RECORDS_PER_BATCH, Keys, Rows
from headwater.cid import cid_texts
from headwater.collection_filter import ALL_COLLECTIONS, CollectionFilter
from headwater.errors import InvalidInputError, Reason
from headwater.mst import Record
from headwater.record import DecodedRecord, DecodedRecords, decode_record, decode_usual_records
from headwater.record_time import effective_time, effective_times

# The columns beside the JSON: collection, rkey, CID, time, subject.
_ROW_OVERHEAD: Final = 250
_KEY_OVERHEAD: Final = 50
# Records that are decoded together. More gain nothing, and one that is unusual costs its neighbours more.
_RUN: Final = 50
_FEW: Final = 4
_MAX_UTF8_BYTES: Final = 4
# Before any effective time there is: year 1 is the first.
_ALWAYS: Final = -(1 << 63)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a job asked for. ``cutoff_us`` is None for all time; ``held``: the table has rows of the repo already.

    Records of collections that are not ``wanted`` are outside, as old ones are. ``now_us`` dates records that nothing
    else dates, and bounds the others. Microseconds since 1970.
    """

    cutoff_us: int | None
    held: bool
    now_us: int
    wanted: CollectionFilter = ALL_COLLECTIONS

    @property
    def whole(self) -> bool:
        """Whether every record that is wanted is in scope, however old."""
        return self.cutoff_us is None


class Refused(NamedTuple):
    """A record that cannot be used. ``block`` is None when the CAR lacks it."""

    collection: str
    rkey: str
    cid: bytes
    reason: Reason
    detail: str
    block: bytes | None


class Batch(NamedTuple):
    """The records of one message (see ``headwater.bus.messages.SnapshotBatch``), and what was refused on the way."""

    put: Rows
    held: Rows
    keys: Keys
    refused: list[Refused]


class _Decoded:
    """Decoded records on their way into rows, column by column: filling rows one by one takes twice as long."""

    __slots__ = ("json", "keys", "raw", "subjects", "times")

    def __init__(self) -> None:
        self.keys: list[Record] = []
        self.json: list[str] = []
        self.times: list[int] = []
        self.subjects: list[str | None] = []
        self.raw: dict[int, bytes] = {}

    def add(self, key: Record, record: DecodedRecord, time_us: int) -> None:
        """Take one record."""
        if record.raw is not None:
            self.raw[len(self.keys)] = record.raw
        self.keys.append(key)
        self.json.append(record.json)
        self.times.append(time_us)
        self.subjects.append(record.subject)

    def rows(self) -> Rows:
        """All of them."""
        if not self.keys:
            return Rows()
        collection, rkey, cid = zip(*self.keys, strict=True)
        return Rows(list(collection), list(rkey), cid_texts(cid), self.times, self.subjects, self.json, self.raw)


class Snapshot:
    """The batches of one repo's snapshot; iterate it once.

    ``records`` are those of the verified tree, in key order. ``max_row_bytes`` is what one record may take in a
    message. Totals of what has been given out: ``published`` (in scope), ``by_collection`` (the same, each),
    ``seen`` (all keys) and ``rejected`` (refused, by reason).

    Raises InvalidInputError like ``headwater.mst.walk``, where ``records`` is a walk.
    """

    def __init__(self, blocks: Blocks, records: Iterable[Record], scope: Scope, max_row_bytes: int) -> None:
        self._blocks = blocks
        self._records = records
        self._scope = scope
        self._max_row_bytes = max_row_bytes
        # Whether every record is wanted, whatever it says.
        self._is_plain = scope.cutoff_us is None and not scope.wanted.text
        self.published = 0
        self.by_collection: Counter[str] = Counter()
        self.seen = 0
        self.rejected: Counter[Reason] = Counter()
        self._begin()

    def __iter__(self) -> Iterator[Batch]:
        for run, decoded in self._runs():
            if decoded is None:
                yield from self._one_by_one(run)
                continue
            size = decoded.size + len(run) * _ROW_OVERHEAD
            if self._count and (self._count + len(run) > MAX_RECORDS_PER_BATCH or self._bytes + size > MAX_BATCH_BYTES):
                yield self._end()
            rkeys = [rkey for _, rkey, _ in run]
            self._put.times += effective_times(decoded.created_at_us, rkeys, self._scope.now_us)
            self._put.keys += run
            self._put.json += decoded.json
            self._put.subjects += decoded.subject
            self._count += len(run)
            self._bytes += size
        if self._count:
            yield self._end()

    def _runs(self) -> Iterator[tuple[list[Record], DecodedRecords | None]]:
        """The records in runs, each decoded at once where all its records are usual.

        A run with one that is unusual is halved, until few share its fate.
        """
        records = iter(self._records)
        while run := list(islice(records, _RUN)):
            left = [run]
            while left:
                run = left.pop()
                decoded = self._decoded(run)
                if decoded is None and len(run) > _FEW and self._is_plain:
                    half = len(run) // 2
                    left += (run[half:], run[:half])
                else:
                    yield run, decoded

    def _decoded(self, run: list[Record]) -> DecodedRecords | None:
        """All records of a run at once, if all are in scope and usual."""
        if not self._is_plain:
            return None
        try:
            blocks = [self._blocks.get(cid) for _, _, cid in run]
        except InvalidInputError:
            return None
        decoded = decode_usual_records(blocks)
        return None if decoded is None or decoded.size > MAX_BATCH_BYTES // 2 else decoded

    def _one_by_one(self, run: list[Record]) -> Iterator[Batch]:
        get, now_us, held = self._blocks.get, self._scope.now_us, self._scope.held
        earliest = self._scope.cutoff_us if self._scope.cutoff_us is not None else _ALWAYS
        wanted, filtered = self._scope.wanted, bool(self._scope.wanted.text)
        by_key = (filtered or self._scope.cutoff_us is not None) and not held
        refused_above = self._max_row_bytes // _MAX_UTF8_BYTES
        # This loop runs for every record of many repos; what stands in it is not called because calls cost.
        for key in run:
            if self._count >= MAX_RECORDS_PER_BATCH:
                yield self._end()
            self._count += 1
            collection, rkey, cid = key
            if by_key and self._is_out_by_key(collection, rkey):
                self._add_key(key)
                continue
            block = None
            try:
                block = get(cid)
                record = decode_record(block)
                size = len(record.json) + _ROW_OVERHEAD
                if record.raw is not None or size > refused_above:
                    size = self._exact_size(record)
            except InvalidInputError as error:
                self._refuse(key, error, block)
                continue
            if self._bytes + size > MAX_BATCH_BYTES and self._count > 1:
                self._count -= 1
                yield self._end()
                self._count += 1
            created_at, dated = effective_time(record.created_at_us, rkey, now_us)
            if (created_at >= earliest or not dated) and (not filtered or collection in wanted):
                self._put.add(key, record, created_at)
            elif held:
                self._held.add(key, record, created_at)
            else:
                self._add_key(key)
                continue
            self._bytes += size

    def _begin(self) -> None:
        self._put = _Decoded()
        self._held = _Decoded()
        self._keys = Keys([], [])
        self._refused: list[Refused] = []
        self._bytes = 0
        self._count = 0

    def _end(self) -> Batch:
        batch = Batch(self._put.rows(), self._held.rows(), self._keys, self._refused)
        self.published += len(batch.put)
        self.by_collection.update(batch.put.collection)
        self.seen += self._count
        self._begin()
        return batch

    def _is_out_by_key(self, collection: str, rkey: str) -> bool:
        """Whether the collection is not wanted, or the key's own time already lies before the cutoff."""
        if collection not in self._scope.wanted:
            return True
        latest, dated = effective_time(None, rkey, self._scope.now_us)
        return dated and self._scope.cutoff_us is not None and latest < self._scope.cutoff_us

    def _add_key(self, key: Record) -> None:
        collection, rkey, _ = key
        self._keys.collection.append(collection)
        self._keys.rkey.append(rkey)
        self._bytes += _KEY_OVERHEAD

    def _exact_size(self, record: DecodedRecord) -> int:
        """What a record takes in a message, in bytes. Raises InvalidInputError(RECORD_TOO_LARGE)."""
        size = len(record.json.encode()) + len(record.raw or b"") + _ROW_OVERHEAD
        if size > self._max_row_bytes:
            raise InvalidInputError(Reason.RECORD_TOO_LARGE, f"{size} bytes in a message")
        return size

    def _refuse(self, key: Record, error: InvalidInputError, block: bytes | None) -> None:
        reason = Reason.RECORD_MISSING if block is None else error.reason
        self.rejected[reason] += 1
        self._refused.append(Refused(*key, reason, error.detail, block))
        self._bytes += 0 if block is None else len(block)
