"""Events on their way to the bus, in batches: one partition's one after the other, the partitions side by side.

Whatever of a partition arrives while a batch of it is under way goes into the next one, so batches grow by themselves
when the bus is slow, and events of one account stay in order also when a batch has to be published again.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from firehose_backfill import metrics
from headwater.bus.messages import LiveBatch, LiveBroken, LiveCommit, LiveEvent, encode
from headwater.bus.publish import Publisher
from headwater.bus.subjects import partition
from headwater.errors import InvariantError, Reason

MAX_EVENTS: Final = 200
MAX_BYTES: Final = 256 * 1024
"""A batch is closed at this many events, or bytes of the frames that they came in."""
LINGER_SECONDS: Final = 0.005
# Headers and the subject.
_MESSAGE_OVERHEAD: Final = 1024


class Sent(msgspec.Struct, frozen=True):
    """An event, the bytes of its frame, and who hears that it is on the bus."""

    event: LiveEvent
    size: int
    safe: Callable[[], None]


class Outbox:
    """Publishes the events of one relay. ``subject`` names a DID's lane (``live_subject`` or
    ``replay_subject``), ``start`` runs a task beside the caller."""

    def __init__(
        self,
        publisher: Publisher,
        start: Callable[[Coroutine[Any, Any, None], str], None],
        relay: str,
        subject: Callable[[str], str],
    ) -> None:
        self._publisher = publisher
        self._start = start
        self._relay = relay
        self._subject = subject
        self._waiting: dict[int, deque[Sent]] = {}
        # Ids are this process's own: an event that comes again after a crash travels in another batch, and no batch
        # may be taken for one that JetStream has seen.
        own = uuid.uuid4().hex
        self._ids = (f"{own}.{number}" for number in itertools.count())

    def add(self, event: LiveEvent, size: int, safe: Callable[[], None]) -> None:
        """Publish an event with others of its partition; ``safe`` is called when JetStream has acknowledged it."""
        lane = partition(event.did)
        waiting = self._waiting.get(lane)
        if waiting is None:
            waiting = self._waiting[lane] = deque()
            self._start(self._publish(lane, waiting), f"outbox {lane}")
        waiting.append(Sent(event, size, safe))

    async def _publish(self, lane: int, waiting: deque[Sent]) -> None:
        """Publish until nothing waits."""
        while waiting:
            if len(waiting) < MAX_EVENTS:
                await asyncio.sleep(LINGER_SECONDS)
            batch = _next_batch(waiting)
            await self._send(batch)
            for sent in batch:
                sent.safe()
        del self._waiting[lane]

    async def _send(self, batch: list[Sent]) -> None:
        events = [sent.event for sent in batch]
        payload = encode(LiveBatch(relay=self._relay, events=events))
        if len(payload) + _MESSAGE_OVERHEAD > self._publisher.max_payload:
            await self._send_in_parts(batch)
            return
        with metrics.PUBLISH_SECONDS.time():
            await self._publisher.publish(self._subject(events[0].did), payload, next(self._ids))
        metrics.BATCH_EVENTS.observe(len(events))

    async def _send_in_parts(self, batch: list[Sent]) -> None:
        if len(batch) == 1:
            await self._send([msgspec.structs.replace(batch[0], event=_too_large(batch[0].event))])
            return
        middle = len(batch) // 2
        await self._send(batch[:middle])
        await self._send(batch[middle:])


def _next_batch(waiting: deque[Sent]) -> list[Sent]:
    batch: list[Sent] = []
    size = 0
    while waiting and len(batch) < MAX_EVENTS and (not batch or size + waiting[0].size <= MAX_BYTES):
        sent = waiting.popleft()
        size += sent.size
        batch.append(sent)
    return batch


def _too_large(event: LiveEvent) -> LiveEvent:
    """What is told of a commit whose records, as JSON, no message holds: a snapshot takes them one by one."""
    if not isinstance(event, LiveCommit):
        raise InvariantError(f"{type(event).__name__} of seq {event.seq} does not fit into a message")
    metrics.REFUSED.labels(Reason.COMMIT_TOO_BIG.value).inc()
    return LiveBroken(
        did=event.did, seq=event.seq, at_us=event.at_us, rev=event.rev, reason=Reason.COMMIT_TOO_BIG.value
    )
