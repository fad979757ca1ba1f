"""Which DIDs a crawl has had already, in eight bytes each: the whole network's are some hundreds of megabytes. Pure.

A DID stands as 64 bits of its BLAKE2b. Among 50 million DIDs the chance that any two are taken for each other is about
one in fifteen thousand.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b
from heapq import merge
from typing import Final

_RECENT: Final = 65_536


class SeenDids:
    """A set of DIDs that only grows: the newest in a set, the others in sorted runs, each at most half of the one
    before it."""

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._runs: list[array[int]] = []

    def __len__(self) -> int:
        return len(self._recent) + sum(map(len, self._runs))

    def __contains__(self, did: str) -> bool:
        digest = _digest(did)
        return digest in self._recent or any(_holds(run, digest) for run in self._runs)

    def update(self, dids: Iterable[str]) -> None:
        """Remember these."""
        for digest in map(_digest, dids):
            if digest not in self._recent and not any(_holds(run, digest) for run in self._runs):
                self._recent.add(digest)
        if len(self._recent) >= _RECENT:
            self._settle()

    def _settle(self) -> None:
        self._runs.append(array("Q", sorted(self._recent)))
        self._recent = set()
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            newer, older = self._runs.pop(), self._runs.pop()
            self._runs.append(array("Q", merge(older, newer)))


def _digest(did: str) -> int:
    return int.from_bytes(blake2b(did.encode(), digest_size=8).digest(), "big")


def _holds(run: array[int], digest: int) -> bool:
    at = bisect_left(run, digest)
    return at < len(run) and run[at] == digest
