"""Where cursors are saved: the ``cursors`` bucket."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

import nats.errors
from nats.js.errors import KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from pydantic import ValidationError

from firehose_backfill.cursor import LIVE, Cursor, CursorKey, LowWatermark, parse_cursor_key
from headwater.bus.buckets import entries
from headwater.clock import now_us
from headwater.errors import InvariantError

BEGAN: Final = "began"

log = logging.getLogger("firehose_backfill.cursor_store")


class CursorStore:
    """Reads and saves the cursors of the live tails. Each key has one writer."""

    def __init__(self, bucket: KeyValue) -> None:
        self._bucket = bucket
        self._saved: dict[str, int] = {}

    async def all(self) -> dict[CursorKey, Cursor]:
        """Every cursor of every relay and layout. Raises nats errors, and InvariantError for one that is none."""
        found: dict[CursorKey, Cursor] = {}
        for text, value in await entries(self._bucket, f"{LIVE}.>"):
            key = parse_cursor_key(text)
            if key is None:
                continue
            try:
                found[key] = Cursor.model_validate_json(value)
            except ValidationError as error:
                raise InvariantError(f"the cursor {text} cannot be read: {error}") from error
        return found

    async def began(self, worker_count: int, at_us: int) -> int:
        """When the first worker of any layout began to follow, before any cursor was saved (microseconds since 1970):
        ``at_us`` when that is now. Raises nats errors, and InvariantError."""
        with suppress(KeyWrongLastSequenceError):
            await self._bucket.create(f"{BEGAN}.{worker_count}", str(at_us).encode())
        moments = await entries(self._bucket, f"{BEGAN}.*")
        for text, value in moments:
            if not value.isdigit():
                raise InvariantError(f"{text} is no time")
        return min(int(value) for _, value in moments)

    async def save(self, key: CursorKey, watermark: LowWatermark) -> bool:
        """Save up to where all is safe, if that has moved; whether the bus took it (it can be away)."""
        if watermark.seq is None or watermark.at_us is None or self._saved.get(key.text) == watermark.seq:
            return True
        cursor = Cursor(seq=watermark.seq, at_us=watermark.at_us, saved_at_us=now_us())
        try:
            await self._bucket.put(key.text, cursor.model_dump_json().encode())
        except (nats.errors.Error, OSError) as error:
            log.debug("the cursor is not saved: %s", error)
            return False
        self._saved[key.text] = cursor.seq
        return True
