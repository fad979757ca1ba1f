"""CAR files that somebody handed in, in the object store ``imports``.

Chunks are read one by one, each by a request of its own: no consumer that a restart of NATS would end, and never
more than one chunk in memory.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError, ObjectDeletedError, ObjectNotFoundError

from headwater.bus.streams import OBJECTS_IMPORTS
from headwater.errors import InvalidInputError, Reason, TransientError

log = logging.getLogger("repo_backfill.imports")

_STREAM = f"OBJ_{OBJECTS_IMPORTS}"


class Imports:
    """The object store ``imports``."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def size(self, name: str) -> int:
        """A file's size in bytes. Raises as ``chunks`` does."""
        return (await self._info(name))[1]

    async def chunks(self, name: str) -> AsyncIterator[bytes]:
        """A file, piece by piece.

        Raises InvalidInputError(NOT_FOUND) when it is not there any more, TransientError when the bus is away.
        """
        nuid, remaining = await self._info(name)
        subject = f"$O.{OBJECTS_IMPORTS}.C.{nuid}"
        sequence = 1
        while remaining > 0:
            try:
                found = await self._js.get_msg(_STREAM, seq=sequence, subject=subject, direct=True, next=True)
            except NotFoundError:
                raise InvalidInputError(Reason.NOT_FOUND, "the imported file is incomplete") from None
            except (nats.errors.Error, OSError) as error:
                raise TransientError("the bus was away while an imported file was read") from error
            data = found.data or b""
            sequence = (found.seq or sequence) + 1
            remaining -= len(data)
            yield data

    async def delete(self, name: str) -> None:
        """Let a file go that nobody needs any more; what is left behind is only room."""
        try:
            await (await self._js.object_store(OBJECTS_IMPORTS)).delete(name)
        except (nats.errors.Error, OSError) as error:
            log.warning("imported file %s is left behind: %s", name, error)

    async def _info(self, name: str) -> tuple[str, int]:
        try:
            info = await (await self._js.object_store(OBJECTS_IMPORTS)).get_info(name)
        except (ObjectNotFoundError, ObjectDeletedError, NotFoundError):
            raise InvalidInputError(Reason.NOT_FOUND, "the imported file is not there") from None
        except (nats.errors.Error, OSError) as error:
            raise TransientError("the bus was away while an imported file was looked for") from error
        return info.nuid or "", info.size or 0
