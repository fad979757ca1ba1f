"""What a person sees of the stack: each program's lines behind its name, and the runner's own words between them."""

from __future__ import annotations

import asyncio
import os
import sys
import zlib
from collections import deque
from typing import TextIO

from headwater_local.program import Program

_RUNNER = "headwater"
_COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)  # ANSI foregrounds that can be read on dark and light
_CHUNK_BYTES = 65_536


class Output:
    """Writes prefixed lines to ``stream`` (stderr), in colour when it is a terminal and NO_COLOR is not set.

    With ``routine`` the programs' routine lines, too.
    """

    def __init__(self, stream: TextIO | None = None, *, width: int = 19, routine: bool = False) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._routine = routine
        self._width = width
        self._colour = self._stream.isatty() and not os.environ.get("NO_COLOR")

    def say(self, text: str) -> None:
        """A line of the runner itself."""
        self.line(_RUNNER, text)

    def line(self, name: str, text: str) -> None:
        """A line of the program ``name``."""
        prefix = f"{name:<{self._width}} |"
        if self._colour:
            colour = 1 if name == _RUNNER else _COLOURS[zlib.crc32(name.encode()) % len(_COLOURS)]
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        try:
            self._stream.write(f"{prefix} {text}\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):
            return  # nobody reads any more; the stack goes on and stops in order

    async def pump(self, program: Program, reader: asyncio.StreamReader, last_lines: deque[str]) -> None:
        """Write what ``program`` says through ``reader``, line by line, and keep the latest in ``last_lines``.

        A line longer than a chunk comes out in pieces: a program's output must not stop its runner.
        """
        rest = b""
        while chunk := await reader.read(_CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _CHUNK_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._take(program, line, last_lines)
        if rest:
            self._take(program, rest, last_lines)

    def _take(self, program: Program, line: bytes, last_lines: deque[str]) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        last_lines.append(text)
        if self._routine or not program.is_routine(text):
            self.line(program.name, text)
