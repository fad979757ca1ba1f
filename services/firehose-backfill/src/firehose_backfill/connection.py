"""One connection to a relay, read to its end: frames sorted, gaps noticed, events given to the pipeline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from firehose_backfill import metrics
from firehose_backfill.frame_intake import FrameIntake, Passed, place_of
from firehose_backfill.gaps import Continuity, Place
from firehose_backfill.letters import Letters
from firehose_backfill.pipeline import Pipeline
from firehose_backfill.relay import Relay
from headwater.bus.firehose import GapKind
from headwater.clock import now_us
from headwater.errors import InvalidInputError, TransientError
from headwater.frames import ErrorFrame, Frame, InfoFrame, UnknownFrame
from headwater.http_messages import MessageTooLargeError

OUTDATED_CURSOR = "OutdatedCursor"
FUTURE_CURSOR = "FutureCursor"
_ABOUT_THE_STREAM: Final = (InfoFrame, ErrorFrame, UnknownFrame)


class NewSeqSpace(Exception):  # noqa: N818 - it is news, no error
    """The relay counts anew: nothing but time says where to go on."""


class Connection:
    """Reads a relay's events after ``cursor`` into a pipeline.

    ``on_gap`` hears of a gap before the event behind it is taken. ``last`` is the newest event that has come, and
    ``first`` the first one of this connection; ``too_large`` says that a message which cannot be read has ended it;
    ``seen_us`` is the latest time of any (microseconds since 1970), or when
    it came, where a host's clock is ahead of ours.
    """

    def __init__(
        self,
        relay: Relay,
        pipeline: Pipeline,
        intake: FrameIntake,
        letters: Letters,
        continuity: Continuity,
        on_gap: Callable[[GapKind, Place], Awaitable[None]],
    ) -> None:
        self._relay = relay
        self._pipeline = pipeline
        self._intake = intake
        self._letters = letters
        self._continuity = continuity
        self._on_gap = on_gap
        self.connected = False
        self.first: Place | None = None
        self.last: Place | None = None
        self.seen_us = 0
        self.too_large = False

    async def read(self, cursor: int | None) -> None:
        """Read until the connection ends: raises TransientError then, MessageTooLargeError, and NewSeqSpace.

        While the pipeline is full nothing is read, and the relay has to wait or to break off.
        """
        async with self._relay.subscribe(cursor) as stream:
            self.connected = True
            try:
                while True:
                    await self._take(await stream.receive())
                    if self._pipeline.full:
                        await self._pipeline.room()
            except MessageTooLargeError as error:
                self.too_large = True
                metrics.FRAMES_REJECTED.labels(error.reason.value).inc()
                self._letters.frame(self._relay.name, b"", error)
                raise
            finally:
                self.connected = False

    async def _take(self, message: bytes) -> None:
        try:
            frame = self._intake.sort(message, look=not self._continuity.settled)
        except InvalidInputError as error:
            metrics.FRAMES_REJECTED.labels(error.reason.value).inc()
            self._letters.frame(self._relay.name, message, error)
            self._refuse(message, error)
            return
        if frame is None:
            return
        if isinstance(frame, _ABOUT_THE_STREAM):
            self._said(frame)
            return
        place = frame.place if isinstance(frame, Passed) else place_of(frame)
        if self.first is None:
            self.first = place
        if not self._continuity.settled:
            await self._look(place)
        if self.last is None or place.seq > self.last.seq:
            self.last = place
        self.seen_us = max(self.seen_us, min(place.at_us, now_us()))
        if isinstance(frame, Passed):
            self._pipeline.passed(place)
        else:
            self._pipeline.take(frame, place, len(message))

    def _refuse(self, message: bytes, error: InvalidInputError) -> None:
        """Whose message cannot be read may have written what nobody sees; its seq is that of the event before."""
        did = self._intake.whose(message)
        if did is not None and self.last is not None and self._continuity.settled:
            self._pipeline.refuse(did, self.last, len(message), error)

    def _said(self, frame: Frame) -> None:
        if isinstance(frame, InfoFrame) and frame.name == OUTDATED_CURSOR:
            self._continuity.outdated()
        elif isinstance(frame, UnknownFrame):
            metrics.UNKNOWN_FRAMES.inc()
        elif isinstance(frame, ErrorFrame):
            if frame.error == FUTURE_CURSOR:
                raise NewSeqSpace
            raise TransientError(f"{self._relay.name} ended the stream: {frame.error}")

    async def _look(self, place: Place) -> None:
        kind = self._continuity.see(place)
        if kind is GapKind.OTHER_SEQ_SPACE and self._continuity.resumes:
            raise NewSeqSpace
        if kind is not None:
            await self._on_gap(kind, place)
