"""Identities that were looked up a short while ago, within a bound on memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from headwater.did_document import Identity

# What an entry costs besides its document: keys, strings and the tables' slots.
_ENTRY_BYTES = 1024


class IdentityCache:
    """Least recently used out first; entries die ``ttl`` seconds after they were put.

    The bound is in bytes, since a stranger's document may be 200 times as long as a common one.
    """

    def __init__(self, *, ttl: float, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, Identity]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """How many identities are held, expired ones included."""
        return len(self._entries)

    def get(self, did: str) -> Identity | None:
        """The identity, unless it is unknown or too old."""
        entry = self._entries.get(did)
        if entry is None:
            return None
        expires, identity = entry
        if expires <= self._clock():
            self.discard(did)
            return None
        self._entries.move_to_end(did)
        return identity

    def put(self, identity: Identity) -> None:
        """Keep the identity in place of what was known of its DID."""
        self.discard(identity.did)
        self._entries[identity.did] = (self._clock() + self._ttl, identity)
        self._bytes += _cost(identity)
        while self._bytes > self._max_bytes:
            _, (_, oldest) = self._entries.popitem(last=False)
            self._bytes -= _cost(oldest)

    def discard(self, did: str) -> None:
        """Forget what is known of a DID."""
        entry = self._entries.pop(did, None)
        if entry is not None:
            self._bytes -= _cost(entry[1])


def _cost(identity: Identity) -> int:
    return _ENTRY_BYTES + len(identity.document)
