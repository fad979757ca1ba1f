"""A lease: of several processes that want to be the same worker, one is it.

The holder renews its entry in the ``leases`` bucket, whose entries expire; whoever finds an entry that is renewed
refuses to start. The entry of a holder that died is left to expire, which takes some seconds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import Final, Self

import nats.errors
import nats.js.errors
import orjson
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from headwater.errors import InvariantError

log = logging.getLogger("headwater.lease")

_RENEW_SECONDS: Final = 1.5


class Lease:
    """Holds ``key`` (``<service>.<worker id>``) within its context.

    Entering raises InvariantError when a living process holds it. ``run`` renews it, and raises InvariantError when
    another process has it.
    """

    def __init__(self, bucket: KeyValue, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._revision = 0
        self._word = orjson.dumps({"pid": os.getpid(), "host": socket.gethostname()})

    async def __aenter__(self) -> Self:
        found: int | None = None
        while True:
            try:
                self._revision = await self._bucket.create(self._key, self._word)
            except KeyWrongLastSequenceError:
                found = await self._await_end(found)
            else:
                return self

    async def _await_end(self, found: int | None) -> int | None:
        """Wait a little for a dead holder's entry to expire; ``found`` was its revision at the last look."""
        try:
            entry = await self._bucket.get(self._key)
        except KeyNotFoundError:
            return None
        if found is not None and entry.revision != found:
            holder = (entry.value or b"").decode("utf-8", "replace")[:200]
            raise InvariantError(f"another process is {self._key} already: {holder}")
        log.info("waiting for the lease of %s to be renewed or to expire", self._key)
        await asyncio.sleep(_RENEW_SECONDS)
        return entry.revision

    async def run(self) -> None:
        """Renew, until cancelled. A bus that is away is waited for: nobody else can take the lease there either."""
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            try:
                self._revision = await self._bucket.update(self._key, self._word, last=self._revision)
            except KeyWrongLastSequenceError:
                await self._regain()
            except (nats.errors.Error, OSError) as error:
                log.debug("the lease is not renewed: %s", error)

    async def _regain(self) -> None:
        """Take the lease again when it has expired, or when its renewal was taken and the answer to it lost."""
        try:
            entry = await self._bucket.get(self._key)
            if entry.value != self._word:
                raise InvariantError(f"another process has become {self._key}")
            self._revision = entry.revision or 0
        except KeyNotFoundError:
            try:
                self._revision = await self._bucket.create(self._key, self._word)
            except KeyWrongLastSequenceError as error:
                raise InvariantError(f"another process has become {self._key}") from error
        except (nats.errors.Error, OSError) as error:
            log.debug("the lease is not read: %s", error)

    async def __aexit__(self, *_: object) -> None:
        """Give the lease back."""
        try:
            await self._bucket.delete(self._key, last=self._revision)
        except (nats.errors.Error, OSError) as error:
            log.debug("the lease is not given back, and will expire: %s", error)
