"""What a worker tells of its live tail: how far it is, and which gaps it has found; the ``firehose`` bucket."""

from __future__ import annotations

import asyncio
import logging

import nats.errors
from nats.js.errors import KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from firehose_backfill import metrics
from headwater.backoff import backoff_seconds
from headwater.bus.firehose import Gap, LiveProgress, gap_key, live_key

log = logging.getLogger("firehose_backfill.firehose_log")


class FirehoseLog:
    """Writes for one worker."""

    def __init__(self, bucket: KeyValue) -> None:
        self._bucket = bucket

    async def gap(self, gap: Gap) -> None:
        """Write a gap down, however long the bus is away: behind it the tail would hide it."""
        tries = 0
        while True:
            try:
                await self._bucket.create(gap_key(gap.gap_id), gap.model_dump_json().encode())
            except KeyWrongLastSequenceError:
                return  # found before, by the process that died behind writing it
            except (nats.errors.Error, OSError) as error:
                tries += 1
                log.warning("the gap %s is not written yet: %s", gap.gap_id, error)
                await asyncio.sleep(backoff_seconds(tries, cap=5.0))
            else:
                metrics.GAPS.labels(gap.kind.value).inc()
                log.warning(
                    "a gap at %s: %s between seq %s and %s", gap.relay, gap.kind.value, gap.from_seq, gap.to_seq
                )
                return

    async def progress(self, progress: LiveProgress) -> None:
        """Say how far the tail is; what the bus does not take is said again soon."""
        try:
            await self._bucket.put(live_key(progress.worker_id), progress.model_dump_json().encode())
        except (nats.errors.Error, OSError) as error:
            log.debug("progress is not told: %s", error)
