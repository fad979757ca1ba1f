"""One lane of records: taking messages from its partitions, grouping them, writing, settling.

Whatever has arrived is written in one transaction, so that the size of a transaction follows the load. A message is
acked when its transaction is on disk, while the next group is being written. A transient failure keeps the group and
tries again: the stream, which refuses what is published when it is full, is the buffer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Generic, TypeVar

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from headwater.backoff import backoff_seconds
from headwater.bus.pull import Pull
from headwater.bus.streams import ACK_WAIT_SECONDS
from headwater.cancelling import Group
from headwater.errors import InvalidInputError, TransientError
from headwater.long_wait import LongWait
from indexer import metrics
from indexer.dead_letters import DeadLetters
from indexer.linger import Waiting, linger
from indexer.ownership import Ownership
from indexer.wal import Sure, nothing_to_flush

log = logging.getLogger("indexer.lane")

M = TypeVar("M")
_ASKED_AT_ONCE = 4
AGAIN_SECONDS = 1.0
"""After so long a message comes again that cannot be written yet."""
_TOGETHER_SECONDS = 0.02
"""What is written within this is flushed at once. Nobody waits for the acknowledgement of a message."""


def _nobody() -> None:
    """Who hears of a lane that nobody waits for."""


def _as_many(most: int) -> int:
    """How many rows a group of a lane that gives way to no other may have."""
    return most


async def _at_once() -> None:
    """The rest of a lane that gives way to no other."""


def _never(_: object) -> bool:
    """Whether a message hastens where none does."""
    return False


@dataclass(frozen=True)
class Delivery(Generic[M]):
    """A message as it came: decoded, and what is needed to settle it. ``rows`` is its weight in a transaction."""

    msg: Msg
    partition: int
    message: M
    rows: int

    @property
    def count(self) -> int:
        """How often it was delivered, from 1."""
        return self.msg.metadata.num_delivered or 1


@dataclass(frozen=True)
class Written:
    """What came of a group: for each delivery None (done) or the seconds after which it shall come again.

    ``sure`` is awaited before anybody is told.
    """

    outcomes: Sequence[float | None]
    sure: Sure = nothing_to_flush


@dataclass(frozen=True)
class LaneConfig(Generic[M]):
    """What makes a lane: its name for metrics, its stream and consumers, its messages and its limits.

    ``lingers``: small groups wait for more (``indexer.linger``), unless they hold a message that ``hastens``.
    ``write`` writes a group in a transaction. It raises TransientError when nothing can be written at the moment.
    ``begun`` hears of each group before it is written, ``rest`` is awaited after it, ``idle`` hears when none is left.
    ``most_rows`` says how many of ``group_rows`` the next group may have.
    """

    name: str
    stream: str
    consumer: Callable[[int], str]
    decode: Callable[[bytes], M]
    weigh: Callable[[M], int]
    write: Callable[[Sequence[Delivery[M]]], Awaitable[Written]]
    group_rows: int
    held_bytes: int
    lingers: bool = False
    hastens: Callable[[M], bool] = _never
    begun: Callable[[], None] = _nobody
    rest: Callable[[], Awaitable[None]] = _at_once
    most_rows: Callable[[int], int] = _as_many
    idle: Callable[[], None] = _nobody


class Lane(Generic[M]):
    """The worker's share of a lane."""

    def __init__(self, config: LaneConfig[M], client: Client, ownership: Ownership, dead: DeadLetters) -> None:
        self._config = config
        self._client = client
        self._ownership = ownership
        self._dead = dead
        self._waiting: deque[Delivery[M]] = deque()
        self._undecodable: deque[tuple[Msg, InvalidInputError]] = deque()
        self._writing: list[Delivery[M]] = []
        self._written: deque[tuple[list[Delivery[M]], Written]] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._to_settle = asyncio.Event()
        self._no_messages = LongWait(log, f"{config.name}: messages")
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def run(self) -> None:
        """Work until cancelled; what is held then goes back to the stream at once."""
        try:
            async with Group() as group:
                group.create_task(self._write_forever(), name=f"write {self._config.name}")
                group.create_task(self._settle_forever(), name=f"settle {self._config.name}")
                group.create_task(self._keep_alive(), name=f"keep alive {self._config.name}")
                for partition in self._ownership.wanted:
                    group.create_task(self._take(partition), name=f"take {self._config.name} {partition}")
        finally:
            for delivery in self._held():
                await self._settle(delivery.msg.nak())

    async def _take(self, partition: int) -> None:
        consumer = self._config.consumer(partition)
        async with Pull(self._client, self._config.stream, consumer, lambda msg: self._on(msg, partition)) as pull:
            attempt = 0
            while True:
                await self._ownership.owns(partition)
                await self._has_room.wait()
                try:
                    await pull.ask(_ASKED_AT_ONCE)
                except nats.errors.Error as error:
                    attempt += 1
                    self._no_messages.because(f"{consumer}: {error}")
                    await asyncio.sleep(backoff_seconds(attempt, base=0.1, cap=5.0))
                else:
                    attempt = 0
                    self._no_messages.over()

    def _on(self, msg: Msg, partition: int) -> None:
        try:
            message = self._config.decode(msg.data)
        except InvalidInputError as error:
            self._undecodable.append((msg, error))
        else:
            self._waiting.append(Delivery(msg, partition, message, self._config.weigh(message)))
        self._hold(len(msg.data))
        self._arrived.set()

    def _hold(self, size: int) -> None:
        self._bytes += size
        metrics.BYTES_HELD.labels(self._config.name).set(self._bytes)
        if self._bytes < self._config.held_bytes:
            self._has_room.set()
        else:
            self._has_room.clear()

    async def _write_forever(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            try:
                await self._bury_undecodable()
            except TransientError as error:
                log.warning("%s: %s", self._config.name, error)
                await asyncio.sleep(1.0)
                self._arrived.set()
            while self._waiting:
                if self._config.lingers:
                    await linger(self._look)
                self._config.begun()
                self._writing = self._next_group()
                await self._write_group()
                await self._config.rest()
            self._config.idle()

    def _held(self) -> list[Delivery[M]]:
        """All that is not settled."""
        written = (delivery for deliveries, _ in self._written for delivery in deliveries)
        return [*written, *self._writing, *self._waiting]

    def _look(self) -> Waiting:
        hastens = not self._has_room.is_set() or any(self._config.hastens(d.message) for d in self._waiting)
        return Waiting(len(self._waiting), sum(d.rows for d in self._waiting), hastens)

    def _next_group(self) -> list[Delivery[M]]:
        group: list[Delivery[M]] = []
        rows, most = 0, self._config.most_rows(self._config.group_rows)
        while self._waiting and (not group or rows + self._waiting[0].rows <= most):
            group.append(self._waiting.popleft())
            rows += group[-1].rows
        return group

    async def _write_group(self) -> None:
        attempt = 0
        while self._writing:
            self._writing = await self._still_owned(self._writing)
            began = time.perf_counter()
            try:
                written = await self._config.write(self._writing) if self._writing else Written(())
            except TransientError as error:
                attempt += 1
                metrics.RETRIES.labels(self._config.name).inc()
                log.warning("%s: nothing written, trying again: %s", self._config.name, error)
                await asyncio.sleep(error.retry_after or backoff_seconds(attempt, cap=5.0))
                continue
            metrics.TRANSACTION_SECONDS.labels(self._config.name).observe(time.perf_counter() - began)
            self._written.append((self._writing, written))
            self._writing = []
            self._to_settle.set()

    async def _settle_forever(self) -> None:
        while True:
            await self._to_settle.wait()
            self._to_settle.clear()
            while self._written:
                await self._settle_written()

    async def _settle_written(self) -> None:
        """Settle the groups that one flush is enough for."""
        sure = self._written[0][1].sure
        if sure is not nothing_to_flush:
            await asyncio.sleep(_TOGETHER_SECONDS)
        groups = list(takewhile(lambda group: group[1].sure is sure, self._written))
        lost: float | None = None
        try:
            await sure()
        except TransientError as error:
            metrics.RETRIES.labels(self._config.name).inc()
            log.warning("%s: what was written may be lost, and comes again: %s", self._config.name, error)
            lost = error.retry_after or AGAIN_SECONDS
        for deliveries, written in groups:
            await self._settle_group(deliveries, written.outcomes if lost is None else [lost] * len(deliveries))
            self._written.popleft()

    async def _settle_group(self, settled: list[Delivery[M]], outcomes: Sequence[float | None]) -> None:
        if settled:
            oldest = min(delivery.msg.metadata.timestamp.timestamp() for delivery in settled)
            metrics.LAG_SECONDS.labels(self._config.name).set(max(0.0, time.time() - oldest))
        for delivery, delay in zip(settled, outcomes, strict=True):
            metrics.MESSAGES.labels(self._config.name, "done" if delay is None else "again").inc()
            await self._settle(delivery.msg.ack() if delay is None else delivery.msg.nak(delay=delay))
            self._hold(-len(delivery.msg.data))

    async def _still_owned(self, group: list[Delivery[M]]) -> list[Delivery[M]]:
        owned = []
        for delivery in group:
            if self._ownership.holds(delivery.partition):
                owned.append(delivery)
            else:
                await self._settle(delivery.msg.nak())
                self._hold(-len(delivery.msg.data))
        return owned

    async def _bury_undecodable(self) -> None:
        while self._undecodable:
            msg, error = self._undecodable[0]
            await self._dead.message(msg.subject, msg.data, error)
            self._undecodable.popleft()
            metrics.MESSAGES.labels(self._config.name, "malformed").inc()
            await self._settle(msg.ack())
            self._hold(-len(msg.data))

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(ACK_WAIT_SECONDS / 3)
            for delivery in self._held():
                await self._settle(delivery.msg.in_progress())

    async def _settle(self, settling: Awaitable[None]) -> None:
        try:
            await settling
        except (nats.errors.Error, OSError) as error:
            # It comes again after the ack wait, and is known then.
            log.debug("%s: not settled: %s", self._config.name, error)
