"""The relay that sends prebuilt frames, a process of its own; see `simulator.firehose_load`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.simulator_process import simulator_process
from simulator.load_frames import LoadFile, load_file


@dataclass(frozen=True)
class Release:
    """Frames from place ``first`` up to ``end``, released at ``rate`` a second (None: at once) since ``at``.

    Times are seconds since 1970. ``rows`` is what all frames up to ``end`` leave behind.
    """

    first: int
    end: int
    rate: float | None
    at: float
    rows: int

    def due(self, place: int) -> float:
        """When a frame was released."""
        return self.at if self.rate is None else self.at + (place - self.first) / self.rate


class Load:
    """The levers of the running process."""

    def __init__(self, pid: int, described: dict[str, Any], file: LoadFile, http: aiohttp.ClientSession) -> None:
        self.pid = pid
        self.file = file
        self.relay_url: str = described["relay_url"]
        self._levers: str = described["load_url"]
        self._http = http

    async def release(self, count: int, rate: float | None = None) -> Release:
        """Send the next frames."""
        first: int = (await self._state())["released"]
        end = first + count
        async with self._http.post(self._levers, json={"count": count, "rate": rate}) as answer:
            answer.raise_for_status()
            state = await answer.json()
        return Release(first, end, rate, state["started_at"], self.file.rows[end - 1])

    async def has_consumer(self) -> bool:
        """Whether somebody listens."""
        connected: int = (await self._state())["connected"]
        return connected > 0

    async def _state(self) -> dict[str, Any]:
        async with self._http.get(self._levers) as answer:
            answer.raise_for_status()
            state: dict[str, Any] = await answer.json()
            return state


@asynccontextmanager
async def frame_load(cache: Path, frames: int, authors: int) -> AsyncIterator[Load]:
    """Run it; the frames are made first where the cache has them not."""
    file = load_file(cache, frames=frames, accounts=authors)
    numbers = ["--frames", str(frames), "--accounts", str(authors), "--cache", str(cache)]
    with simulator_process("simulator.firehose_load", *numbers) as (pid, described):
        async with aiohttp.ClientSession() as http:
            yield Load(pid, described, file, http)
