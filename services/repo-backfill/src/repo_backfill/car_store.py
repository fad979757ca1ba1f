"""The blocks of the CARs under way: in memory while all of them together fit a budget, else in a file."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from headwater.blocks import MemoryBlocks, SpooledBlocks
from headwater.errors import TransientError

P = ParamSpec("P")
R = TypeVar("R")


class MemoryBudget:
    """Bytes of memory that several stores share."""

    def __init__(self, total: int) -> None:
        self._total = total
        self.taken = 0

    def take(self, amount: int) -> bool:
        """Take so many bytes, if they are there."""
        if self.taken + amount > self._total:
            return False
        self.taken += amount
        return True

    def give_back(self, amount: int) -> None:
        """Give bytes back."""
        self.taken -= amount


class CarStore:
    """The blocks of one repo (``headwater.blocks.Blocks``), moved to a file when the budget is used up.

    ``count`` is how many were put, doubled ones included.
    """

    def __init__(self, budget: MemoryBudget, directory: Path) -> None:
        self._budget = budget
        self._directory = directory
        self._memory = MemoryBlocks()
        self._taken = 0
        self._beside = 0
        self.count = 0
        self._store: MemoryBlocks | SpooledBlocks = self._memory
        self.get: Callable[[bytes], bytes] = self._memory.get

    def like_nodes(self, cids: Collection[bytes]) -> list[bytes]:
        """Those of the CIDs whose blocks begin as tree nodes do."""
        return self._store.like_nodes(cids)

    @property
    def spooled(self) -> bool:
        """Whether the blocks are in a file."""
        return self._store is not self._memory

    def put_all(self, blocks: list[tuple[bytes, bytes]]) -> None:
        """Keep blocks whose hashes have been checked. Raises TransientError when the disk refuses."""
        self._store.put_all(blocks)
        self.count += len(blocks)
        if self._store is self._memory:
            grown = self._memory.bytes_held - self._taken
            if self._budget.take(grown):
                self._taken += grown
            else:
                self._move_to_file()

    async def seal(self) -> None:
        """Say that all blocks are there; call it once, before the first ``get``."""
        if self.spooled:
            await in_thread(self._store.seal)
        else:
            self._store.seal()

    def reserve(self, amount: int) -> bool:
        """Take bytes of the budget for what is kept beside the blocks, until ``close``; whether they were there."""
        if not self._budget.take(amount):
            return False
        self._beside += amount
        return True

    def close(self) -> None:
        """Free the memory and the file."""
        self._store.close()
        self._give_back()
        self._budget.give_back(self._beside)
        self._beside = 0

    def _move_to_file(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            spool = SpooledBlocks(str(self._directory))
        except OSError as error:
            raise TransientError(f"cannot make the block spool: {error.strerror}") from error
        self._store, self.get = spool, spool.get
        spool.put_all(self._memory.items())
        self._memory.close()
        self._give_back()

    def _give_back(self) -> None:
        self._budget.give_back(self._taken)
        self._taken = 0


async def in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run CPU work beside the event loop. When cancelled, waits until the work has let go of what it was given."""
    call = functools.partial(work, *args, **kwargs)
    running = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            # A large repo may take longer than whoever stops it waits before he cancels again.
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        if not running.cancelled():
            running.exception()
        raise
