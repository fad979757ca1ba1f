"""Pages of an account's own records, as the indexer answers them: MessagePack, since they hold JSON already."""

from __future__ import annotations

import msgspec

from headwater.errors import InvariantError


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended: its last record's key, and effective time in microseconds since 1970."""

    collection: str
    rkey: str
    created_at_us: int = 0


class StoredRecord(msgspec.Struct, frozen=True, array_like=True):
    """A row of ``record``. ``record`` is its JSON; None where it is larger than a message can be."""

    collection: str
    rkey: str
    cid: str
    rev: str
    created_at_us: int
    record: str | None

    def place(self) -> Place:
        """Where a page that ends with this record ends."""
        return Place(self.collection, self.rkey, self.created_at_us)


class RecordsPage(msgspec.Struct, frozen=True, array_like=True):
    """Records, and where to go on. ``next`` is None at the end; a page before it may be empty."""

    records: list[StoredRecord]
    next: Place | None

    def without_values(self) -> RecordsPage:
        """The page as keys alone."""
        return RecordsPage([msgspec.structs.replace(record, record=None) for record in self.records], self.next)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(RecordsPage)


def encode_page(page: RecordsPage) -> bytes:
    """A page as a message."""
    return _encoder.encode(page)


def decode_page(payload: bytes) -> RecordsPage:
    """A page from the indexer. Raises InvariantError, as it is ours."""
    try:
        page: RecordsPage = _decoder.decode(payload)
    except msgspec.DecodeError as error:
        raise InvariantError(f"malformed RecordsPage: {error}") from error
    return page
