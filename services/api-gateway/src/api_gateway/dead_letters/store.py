"""Reading and dropping the letters in the DEAD_LETTERS stream. All raise nats errors and Problem 503."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from nats.aio.msg import Msg
from nats.js.errors import APIError, NotFoundError

from api_gateway.bus import Bus
from api_gateway.dead_letters.contents import read
from api_gateway.dead_letters.letter import DeadLetter, DeadLetterContent, DeadLetterCount, DeadLetterList, letter_of
from headwater.bus.stored import stored
from headwater.bus.streams import STREAM_DEAD_LETTERS
from headwater.bus.subjects import DEAD_LETTERS, dead_letter_subject

_ALL: Final = f"{DEAD_LETTERS}.>"
_DENSE: Final = 4
"""A stretch of the stream with more than so many pages of letters is read in smaller ones."""


class DeadLetters:
    """The letters that are kept."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def page(
        self, *, kind: str | None = None, reason: str | None = None, before: int | None = None, limit: int = 50
    ) -> DeadLetterList:
        """The next ``limit`` letters of a kind and a reason, newest first, older than letter ``before``."""
        info = await self._bus.js.stream_info(STREAM_DEAD_LETTERS, subjects_filter=_ALL)
        first, last = max(1, info.state.first_seq), info.state.last_seq
        subject = dead_letter_subject(kind or "*", reason or "*")
        end = last + 1 if before is None else min(before, last + 1)
        found = await self._before(subject, first, end, limit + 1)
        letters = [_letter(msg) for msg in found[:limit]]
        return DeadLetterList(
            letters=letters,
            next=letters[-1].id if len(found) > limit else None,
            counts=_counts(info.state.subjects or {}),
            last_id=last,
        )

    async def _before(self, subject: str, first: int, end: int, limit: int) -> list[Msg]:
        """The newest ``limit`` messages of the stream in ``first`` to ``end``, newest first.

        A stream is read forward only, so it is read in stretches from its end on; one that holds many is halved, and
        the next one is twice as long where one holds few.
        """
        found: list[Msg] = []
        length = limit
        while end > first and len(found) < limit:
            start = max(first, end - length)
            most = _DENSE * limit
            stretch = await self._stretch(subject, start, end, most)
            if len(stretch) >= most and length > limit:
                length = max(limit, length // 2)
                continue
            found += reversed(stretch)
            end, length = start, length * 2
        return found[:limit]

    async def _stretch(self, subject: str, start: int, end: int, most: int) -> list[Msg]:
        return await stored(
            self._bus.js, STREAM_DEAD_LETTERS, subject, first=start, before=end, headers_only=True, most=most
        )

    async def find(self, number: int) -> DeadLetterContent | None:
        """A letter with its bytes; None when there is none, or none any more."""
        msg = await self.message(number)
        if msg is None:
            return None
        metadata = _letter(msg, msg.data)
        value, form = read(msg.data, metadata.kind)
        return DeadLetterContent(**metadata.model_dump(), bytes=b64encode(msg.data).decode(), value=value, format=form)

    async def message(self, number: int) -> Msg | None:
        """A letter as it lies in the stream."""
        found = await stored(self._bus.js, STREAM_DEAD_LETTERS, _ALL, first=number, before=number + 1, most=1)
        return found[0] if found else None

    async def drop(self, number: int) -> bool:
        """Drop a letter; whether it was there."""
        try:
            await self._bus.js.delete_msg(STREAM_DEAD_LETTERS, number)
        except NotFoundError:
            return False
        except APIError as error:
            if error.err_code in _GONE:
                return False
            raise
        return True

    async def drop_all(self, kind: str, reason: str, up_to: int) -> int:
        """Drop all letters of a kind and reason whose id is at most ``up_to``: later ones nobody has seen."""
        subject = dead_letter_subject(kind, reason)
        before = await self._count(subject)
        await self._bus.js.purge_stream(STREAM_DEAD_LETTERS, seq=up_to + 1, subject=subject)
        return before - await self._count(subject)

    async def _count(self, subject: str) -> int:
        info = await self._bus.js.stream_info(STREAM_DEAD_LETTERS, subjects_filter=subject)
        return sum((info.state.subjects or {}).values())


_GONE: Final = (10037, 10043, 10057)
"""The server's codes for a message that is not there (any more)."""


def _letter(msg: Msg, payload: bytes | None = None) -> DeadLetter:
    metadata = msg.metadata
    at_us = int(metadata.timestamp.timestamp() * 1_000_000)
    return letter_of(metadata.sequence.stream, at_us, msg.subject, msg.headers or {}, payload)


def _counts(subjects: dict[str, int]) -> list[DeadLetterCount]:
    counted = []
    for subject, letters in subjects.items():
        _, kind, reason = subject.split(".", 2)
        counted.append(DeadLetterCount(kind=kind, reason=reason, letters=letters))
    return sorted(counted, key=lambda one: (-one.letters, one.kind, one.reason))
