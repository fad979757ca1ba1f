"""The blocks of the CARs under way: in memory while all of them together fit a budget, else in a file.

What finds them in the file stays in memory, and has a budget too: a CAR may be of millions of blocks that hold nothing.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from headwater.blocks import MemoryBlocks, SpooledBlocks
from headwater.car import MIB
from headwater.errors import TransientError
from repo_backfill.busy import BusyError

P = ParamSpec("P")
R = TypeVar("R")


INDEX_BYTES: Final = 256 * MIB
"""For all files together. The index of the largest CAR there may be (`headwater.car.CarLimits`) fits in."""
_INDEX_BYTES_A_BLOCK: Final = 28
_AGAIN_SECONDS: Final = 30.0


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

    ``index`` is the budget of what finds blocks in files. ``count`` is how many were put, doubled ones included.
    """

    def __init__(self, budget: MemoryBudget, index: MemoryBudget, directory: Path) -> None:
        self._budget = budget
        self._index = index
        self._indexed = 0
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
        """Keep blocks whose hashes have been checked.

        Raises TransientError when the disk refuses, and BusyError when other large repos leave no memory for finding
        this one's blocks.
        """
        self.count += len(blocks)
        if self.spooled:
            self._grow_index()
        self._store.put_all(blocks)
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
        self._index.give_back(self._indexed)
        self._beside = self._indexed = 0

    def _grow_index(self) -> None:
        grown = self.count * _INDEX_BYTES_A_BLOCK - self._indexed
        if not self._index.take(grown):
            raise BusyError("large repos have taken the memory that there is for them", retry_after=_AGAIN_SECONDS)
        self._indexed += grown

    def _move_to_file(self) -> None:
        self._grow_index()
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
