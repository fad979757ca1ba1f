"""From a frame to the bus: every event verified, each account's in order, what is under way bounded.

An account whose key is at hand is done with at once. Otherwise its events wait in a line of their own while the key is
looked up, and those of other accounts overtake them. An event is out of the way when JetStream has acknowledged it,
and the cursor follows the oldest one that is not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import Any, Final

import msgspec

from firehose_backfill import metrics
from firehose_backfill.cursor import LowWatermark, Mark
from firehose_backfill.gaps import Place
from firehose_backfill.judge import Judge
from firehose_backfill.keyring import Keyring
from firehose_backfill.outbox import Outbox
from headwater.bus.messages import LiveBroken, LiveEvent, LiveIdentity
from headwater.bus.publish import Publisher
from headwater.cancelling import Group
from headwater.errors import InvalidInputError, Reason
from headwater.frames import AccountEvent, AccountFrame, CommitFrame, IdentityFrame, SyncFrame

MAX_EVENTS: Final = 50_000
"""How many events may be behind the oldest one that is not safe: what a crash reads again."""


class _Waiting(msgspec.Struct, frozen=True):
    frame: AccountEvent
    size: int
    mark: Mark


class Pipeline:
    """The events of one relay's seq space, on one lane.

    ``subject`` names a DID's lane (``live_subject`` or ``replay_subject``). ``max_bytes`` of frames may be under way.
    ``watermark`` says up to where all is safe. Use it as an async context manager: leaving it cancels what is under
    way, so ``drain`` it first. An error of ours in one of its tasks cancels whoever is within the context.
    """

    def __init__(
        self,
        judge: Judge,
        keys: Keyring,
        publisher: Publisher,
        relay: str,
        subject: Callable[[str], str],
        max_bytes: int,
    ) -> None:
        self.relay = relay
        self.watermark = LowWatermark()
        self.events = 0
        self.bytes = 0
        self._judge = judge
        self._keys = keys
        self._max_bytes = max_bytes
        self._lines: dict[str, deque[_Waiting]] = {}
        self._tasks = Group()
        self._running: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._outbox = Outbox(publisher, self._start, relay, subject)

    async def __aenter__(self) -> Pipeline:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._tasks.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    @property
    def full(self) -> bool:
        """Whether no more events should be taken."""
        return self.bytes > self._max_bytes or len(self.watermark) > MAX_EVENTS

    async def room(self) -> None:
        """Wait until more may be taken."""
        while self.full:
            self._changed.clear()
            await self._changed.wait()

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while len(self.watermark):
            self._changed.clear()
            await self._changed.wait()

    def passed(self, place: Place) -> None:
        """Nothing is to be done with this event."""
        self.watermark.done(self.watermark.begin(place.seq, place.at_us))

    def take(self, frame: AccountEvent, place: Place, size: int) -> None:
        """Take an event that came in a frame of ``size`` bytes. Whoever gives more waits for ``room`` before."""
        self.events += 1
        self.bytes += size
        waiting = _Waiting(frame, size, self.watermark.begin(place.seq, place.at_us))
        line = self._lines.get(frame.did)
        if line is not None:
            line.append(waiting)
        elif not self._at_once(waiting):
            line = self._lines[frame.did] = deque((waiting,))
            self._start(self._work_off(frame.did, line), f"line of {frame.did}")

    def refuse(self, did: str, place: Place, size: int, error: InvalidInputError) -> None:
        """A message of ``size`` bytes that names an account, and that cannot be read, has come behind ``place``."""
        self.bytes += size
        mark = self.watermark.begin(place.seq, place.at_us)
        event = LiveBroken(did=did, seq=place.seq, at_us=place.at_us, rev=None, reason=error.reason.value)
        self._outbox.add(event, size, partial(self._done, mark, size))

    def _at_once(self, waiting: _Waiting) -> bool:
        """Do what needs no lookup; whether that was it."""
        frame, at_us = waiting.frame, waiting.mark.at_us
        if isinstance(frame, AccountFrame):
            self._send(self._judge.account(frame, at_us), waiting)
            return True
        key = None if isinstance(frame, IdentityFrame) else self._keys.known(frame.did)
        if key is None or isinstance(frame, IdentityFrame):
            return False
        event: LiveEvent
        try:
            event = self._judge.verified(frame, at_us, key)
        except InvalidInputError as error:
            if error.reason is Reason.BAD_SIGNATURE:
                return False
            event = self._judge.broken(self.relay, frame, at_us, error)
        self._send(event, waiting)
        return True

    async def _work_off(self, did: str, line: deque[_Waiting]) -> None:
        """Do an account's events one after the other, until none waits."""
        while line:
            waiting = line[0]
            event = await self._looked_up(waiting.frame, waiting.mark.at_us)
            line.popleft()
            if event is None:
                self._done(waiting.mark, waiting.size)
            else:
                self._send(event, waiting)
        del self._lines[did]

    async def _looked_up(self, frame: AccountEvent, at_us: int) -> LiveEvent | None:
        if isinstance(frame, AccountFrame):
            return self._judge.account(frame, at_us)
        if isinstance(frame, IdentityFrame):
            return await self._identity(frame, at_us)
        try:
            return await self._verified(frame, at_us)
        except InvalidInputError as error:
            return self._judge.broken(self.relay, frame, at_us, error)

    async def _verified(self, frame: CommitFrame | SyncFrame, at_us: int) -> LiveEvent:
        key = await self._keys.key(frame.did)
        try:
            return self._judge.verified(frame, at_us, key)
        except InvalidInputError as error:
            if error.reason is not Reason.BAD_SIGNATURE:
                raise
            # Keys rotate, and the news of it may be lost.
            other = await self._keys.key_once_more(frame.did, key)
            if other is None:
                raise
        return self._judge.verified(frame, at_us, other)

    async def _identity(self, frame: IdentityFrame, at_us: int) -> LiveEvent | None:
        try:
            identity = await self._keys.identity(frame.did)
        except InvalidInputError as error:
            # Nothing is known that could be told, and the next commit finds no key.
            metrics.REFUSED.labels(error.reason.value).inc()
            return None
        handle = await self._keys.handle(identity)
        return LiveIdentity(did=frame.did, seq=frame.seq, at_us=at_us, handle=handle, pds=identity.pds)

    def _send(self, event: LiveEvent, waiting: _Waiting) -> None:
        # What waits for its acknowledgement does without the frame, which is larger than all else.
        self._outbox.add(event, waiting.size, partial(self._done, waiting.mark, waiting.size))

    def _done(self, mark: Mark, size: int) -> None:
        self.bytes -= size
        self.watermark.done(mark)
        self._changed.set()
