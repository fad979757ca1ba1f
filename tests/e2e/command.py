"""The ``headwater`` command as a script runs it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PATIENCE_SECONDS = 180.0


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        document: dict[str, Any] = json.loads(self.out)
        return document


class Command:
    """A ``headwater`` command on a home, while it runs."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, home: Path, *arguments: str) -> Command:
        environment = {**os.environ, "HEADWATER_HOME": str(home)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "headwater_local", *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=PIPE, env=environment, cwd=home.parent,
        )  # fmt: skip
        return cls(process)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    async def says(self) -> str:
        """The next line on its stderr."""
        assert self._process.stderr is not None
        return (await asyncio.wait_for(self._process.stderr.readline(), _PATIENCE_SECONDS)).decode()

    async def finish(self) -> Finished:
        out, err = await asyncio.wait_for(self._process.communicate(), _PATIENCE_SECONDS)
        assert self._process.returncode is not None
        return Finished(self._process.returncode, out.decode(), err.decode())


async def run(home: Path, *arguments: str) -> Finished:
    """A ``headwater`` command, run to its end."""
    return await (await Command.start(home, *arguments)).finish()
