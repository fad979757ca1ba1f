"""The accounts' signing keys: those at hand, and those that have to be looked up first.

An account's document changes rarely, and ``#identity`` says when, so keys are kept for long; one that does not fit a
signature is looked up once more. The PLC directory is the operator's: while it does not answer, whoever needs a key
waits. An account whose own host (did:web), or whose entry alone, does not answer is given up after some tries, for
nobody else may wait for it; strangers' hosts have places of their own, and hold the cursor for a while only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from firehose_backfill import metrics
from headwater.backoff import backoff_seconds
from headwater.did_document import Identity, is_plc
from headwater.errors import InvalidInputError, Reason, TransientError
from headwater.identity import IdentityResolver
from headwater.keys import PublicKey

log = logging.getLogger("firehose_backfill.keyring")

_TRIES: Final = 4
_HANDLE_TRIES: Final = 2
_LOOKUPS_AT_ONCE: Final = 32
_STRANGERS_AT_ONCE: Final = 32
STRANGERS_SECONDS: Final = 30.0
"""What a did:web or a handle may take, its wait for a place included: the cursor stands still behind it."""
# Within this, a key that was just looked up is not looked up again, however many signatures it does not fit.
_FRESH_SECONDS: Final = 5.0
# How long an account that has no usable key is taken at that.
_REFUSED_SECONDS: Final = 60.0


class _Entry(NamedTuple):
    key: PublicKey | InvalidInputError
    looked_up: float


class Keyring:
    """Keys by DID, at most ``size`` of them, least recently used out first."""

    def __init__(
        self, identities: IdentityResolver, size: int = 100_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._identities = identities
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._places = asyncio.Semaphore(_LOOKUPS_AT_ONCE)
        self._strangers = asyncio.Semaphore(_STRANGERS_AT_ONCE)
        self._plc_answers = 0
        self.waiting = 0

    def __len__(self) -> int:
        """How many keys are at hand."""
        return len(self._entries)

    def known(self, did: str) -> PublicKey | None:
        """The key, if it is at hand."""
        entry = self._entries.get(did)
        if entry is None or isinstance(entry.key, InvalidInputError):
            return None
        self._entries.move_to_end(did)
        return entry.key

    async def key(self, did: str) -> PublicKey:
        """The key, looked up where it is not at hand; waits while the PLC directory is away.

        Raises InvalidInputError: UNREACHABLE for a host that does not answer, NO_KEY for a document without a usable
        key, and what `IdentityResolver.resolve_did` raises.
        """
        entry = self._entries.get(did)
        if entry is not None and isinstance(entry.key, PublicKey):
            return entry.key
        if entry is not None and isinstance(entry.key, InvalidInputError) and self._younger(entry, _REFUSED_SECONDS):
            raise entry.key
        return _key_of(await self._look_up(did, refresh=False))

    async def key_once_more(self, did: str, doubted: PublicKey) -> PublicKey | None:
        """Another key than the ``doubted`` one, if a look past all caches finds it; errors like ``key``."""
        entry = self._entries.get(did)
        if entry is not None and self._younger(entry, _FRESH_SECONDS):
            key = entry.key
        else:
            key = _key_of(await self._look_up(did, refresh=True))
        return key if isinstance(key, PublicKey) and key != doubted else None

    async def identity(self, did: str) -> Identity:
        """The account's identity, looked up past all caches; errors like ``key``, but NO_KEY."""
        return await self._look_up(did, refresh=True)

    async def handle(self, identity: Identity) -> str | None:
        """The identity's handle if it names the DID in turn; None also when that cannot be found out."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STRANGERS_SECONDS):
                return await self._verified(identity)
        return None

    async def _verified(self, identity: Identity) -> str | None:
        for attempt in range(1, _HANDLE_TRIES + 1):
            try:
                async with self._strangers:
                    return identity.handle if await self._identities.verify_handle(identity) else None
            except TransientError as error:
                log.info("the handle of %s cannot be checked: %s", identity.did, error)
                if attempt < _HANDLE_TRIES:
                    await asyncio.sleep(backoff_seconds(attempt))
        return None

    def _younger(self, entry: _Entry, seconds: float) -> bool:
        return self._clock() - entry.looked_up < seconds

    async def _look_up(self, did: str, *, refresh: bool) -> Identity:
        self.waiting += 1
        try:
            identity = await (self._tried if is_plc(did) else self._tried_for_a_while)(did, refresh)
        except InvalidInputError as error:
            metrics.LOOKUPS.labels(error.reason.value).inc()
            self._put(did, error)
            raise
        finally:
            self.waiting -= 1
        metrics.LOOKUPS.labels("found").inc()
        try:
            self._put(did, _key_of(identity))
        except InvalidInputError as error:
            self._put(did, error)
        return identity

    async def _tried_for_a_while(self, did: str, refresh: bool) -> Identity:
        try:
            async with asyncio.timeout(STRANGERS_SECONDS):
                return await self._tried(did, refresh)
        except TimeoutError as error:
            raise InvalidInputError(Reason.UNREACHABLE, f"{did}: not within {STRANGERS_SECONDS:.0f} s") from error

    async def _tried(self, did: str, refresh: bool) -> Identity:
        tries, answers = 0, self._plc_answers
        places = self._places if is_plc(did) else self._strangers
        while True:
            try:
                async with places:
                    identity = await self._identities.resolve_did(did, refresh=refresh)
            except TransientError as error:
                metrics.LOOKUPS.labels("no answer").inc()
                tries += 1
                alone = not is_plc(did) or self._plc_answers > answers
                if tries >= _TRIES and alone:
                    raise InvalidInputError(Reason.UNREACHABLE, f"{did}: {error.detail}"[:200]) from error
                log.warning("the key of %s has to wait: %s", did, error)
                await asyncio.sleep(backoff_seconds(tries, cap=10.0))
            else:
                self._plc_answers += is_plc(did)
                return identity

    def _put(self, did: str, key: PublicKey | InvalidInputError) -> None:
        self._entries[did] = _Entry(key, self._clock())
        self._entries.move_to_end(did)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)


def _key_of(identity: Identity) -> PublicKey:
    if identity.signing_key is None:
        raise InvalidInputError(Reason.NO_KEY, f"the document of {identity.did} has no usable key")
    return identity.signing_key
