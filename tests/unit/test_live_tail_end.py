"""The end of a live tail whose events do not become safe any more: what is safe is saved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from firehose_backfill.cursor import Cursor, CursorKey, LowWatermark
from firehose_backfill.live import LiveTail
from firehose_backfill.pipeline import Pipeline
from headwater.cancelling import cancel_and_wait
from waiting import until


class SilentRelay:
    """Takes the connection, and says nothing."""

    name = "relay.example"

    def __init__(self) -> None:
        self.connected = False

    @asynccontextmanager
    async def subscribe(self, _: int | None) -> AsyncIterator[None]:
        self.connected = True
        await asyncio.Event().wait()
        yield


class Cursors:
    """What has been saved."""

    def __init__(self) -> None:
        self.saved: list[int | None] = []

    async def all(self) -> dict[CursorKey, Cursor]:
        return {}

    async def began(self, _: int, at_us: int) -> int:
        return at_us

    async def save(self, _: CursorKey, watermark: LowWatermark) -> bool:
        self.saved.append(watermark.seq)
        return True


def stuck_pipeline(relay: str) -> Pipeline:
    """One event is safe, and the next one never will be."""
    nobody = cast("Any", None)
    pipeline = Pipeline(nobody, nobody, nobody, relay, str, 1)
    pipeline.watermark.done(pipeline.watermark.begin(1, 1))
    pipeline.watermark.begin(2, 2)
    return pipeline


async def test_a_tail_that_is_stopped_amid_what_never_becomes_safe_saves_its_cursor() -> None:
    relay, cursors, nobody = SilentRelay(), Cursors(), cast("Any", None)
    tail = LiveTail([cast("Any", relay)], stuck_pipeline, nobody, nobody, cast("Any", cursors), nobody, 0, 1)
    running = asyncio.create_task(tail.run())
    await until(lambda: relay.connected)
    await cancel_and_wait([running])
    assert cursors.saved == [1]
