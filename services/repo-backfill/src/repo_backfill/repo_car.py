"""A repo's CAR, read and verified whole: blocks, commit, signature, tree. Nothing of it is used before that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

from headwater.car import CarLimits, CarReader
from headwater.commit import Commit, check_commit, parse_commit, verify_signature
from headwater.errors import InvalidInputError, Reason
from headwater.keys import PublicKey
from headwater.mst import KEPT_RECORDS, Record, verified_records
from repo_backfill.car_store import CarStore, in_thread

# What a record's key and CID take in memory, between the walk that verifies and the one that publishes.
_KEPT_RECORD_BYTES = 200
# So few blocks are walked in milliseconds; the way to a thread and back, and to the lock, takes longer.
_WALKED_AT_ONCE = 2_000

KeySource = Callable[[bool], Awaitable[PublicKey]]
"""The account's key; asked with true, it is looked up again instead of taken from a cache."""


@dataclass(frozen=True, slots=True)
class VerifiedRepo:
    """A repo whose commit is signed and whose tree is whole: ``count`` keys, ``records`` in their order."""

    commit: Commit
    blocks: CarStore
    count: int
    records: Iterable[Record]


async def read_car(
    chunks: AsyncIterator[bytes], store: CarStore, limits: CarLimits, on_bytes: Callable[[int], Awaitable[None]]
) -> bytes:
    """Put a CAR's blocks into the store as they come; the root's CID. ``on_bytes`` hears the bytes so far.

    Raises what the chunks and ``CarReader`` raise; CAR_TRUNCATED when the sender ended within a block.
    """
    reader = CarReader(limits)
    async for chunk in chunks:
        store.put_all(reader.feed(chunk))
        await on_bytes(reader.bytes_read)
        # A fast host never makes us wait; the other jobs get their turn here.
        await asyncio.sleep(0)
    root = reader.finish()
    await store.seal()
    return root


async def verify_repo(did: str, root: bytes, store: CarStore, key_of: KeySource, now_us: int) -> VerifiedRepo:
    """Check commit, signature and tree. ``now_us`` is microseconds since 1970.

    Keys rotate, so a signature that does not verify is tried once more with a key looked up again.
    Raises InvalidInputError with the reason, and what ``key_of`` raises.
    """
    try:
        block = store.get(root)
    except InvalidInputError:
        raise InvalidInputError(Reason.BLOCK_MISSING, "the commit is not in the CAR") from None
    commit = parse_commit(block)
    check_commit(commit, did, now_us)
    try:
        verify_signature(commit, await key_of(False))
    except InvalidInputError as error:
        if error.reason is not Reason.BAD_SIGNATURE:
            raise
        verify_signature(commit, await key_of(True))
    keep = min(KEPT_RECORDS, store.count)
    if not store.reserve(keep * _KEPT_RECORD_BYTES):
        keep = 0
    if store.count <= _WALKED_AT_ONCE:
        count, records = verified_records(store, commit.data, keep)
    else:
        count, records = await in_thread(verified_records, store, commit.data, keep)
    return VerifiedRepo(commit, store, count, records)
