"""Keeps programs running: starts them, waits until they are ready, starts them again when they die, stops them.

A settings error (exit code 78) is not retried, and neither is a program that dies again and again before it was
ever ready: both raise StackError out of ``Keeper.run``.
"""

from __future__ import annotations

import asyncio
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from headwater_local.errors import EXIT_CONFIG, StackError
from headwater_local.output import Output
from headwater_local.program import Program, spawn_options

_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 30.0
# One that ran this long has recovered: its next death is a new story and is answered at once.
_RECOVERED_SECONDS = 10.0
_STARTS_BEFORE_READY = 5
_PROBE_SECONDS = 0.1
_LAST_LINES = 20


class Keeper:
    """Keeps one program running until told to stop. ``changed`` is called whenever its pid has changed."""

    def __init__(self, program: Program, output: Output, changed: Callable[[], None]) -> None:
        self.program = program
        self.ready = asyncio.Event()
        self._output = output
        self._changed = changed
        self._stopping = asyncio.Event()
        self._process: Process | None = None
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)

    @property
    def pid(self) -> int | None:
        """The pid of the running process; None between two lives."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def run(self) -> None:
        """Run the program again and again until ``stop``. Raises StackError when that is no use."""
        deaths = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            deaths = 1 if time.monotonic() - began > _RECOVERED_SECONDS else deaths + 1
            self._raise_if_hopeless(code, deaths)
            delay = min(_FIRST_DELAY_SECONDS * 2 ** min(deaths - 1, 16), _LONGEST_DELAY_SECONDS)
            self._output.say(f"{self.program.name} {_said(code)}; starting it again in {delay:.1f} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def stop(self, timeout: float) -> None:
        """Ask the program to stop and wait; kill it after ``timeout`` seconds."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(self.program.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), timeout)
        except TimeoutError:
            self._output.say(f"{self.program.name} did not stop within {timeout:.0f} s; killing it")
            self.kill()
            await process.wait()

    def kill(self) -> None:
        """End the program at once; it is not started again."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _run_once(self) -> int:
        await asyncio.to_thread(self.program.prepare)
        if self._stopping.is_set():
            return 0
        program = self.program
        process = await asyncio.create_subprocess_exec(
            *program.argv, stdout=PIPE, stderr=STDOUT, **spawn_options(program)
        )
        self._process = process
        if self._stopping.is_set():  # asked while the process was being made, when there was nothing to signal
            self.kill()
        self._changed()
        assert process.stdout is not None
        pump = asyncio.create_task(self._output.pump(program, process.stdout, self._last_lines))
        probe = asyncio.create_task(self._wait_until_ready())
        try:
            code = await process.wait()
            # A child of the program may hold the pipe open after it; its last words are worth a moment, not more.
            await asyncio.wait({pump}, timeout=1.0)
            return code
        finally:
            probe.cancel()
            pump.cancel()
            self._changed()

    async def _wait_until_ready(self) -> None:
        while not await asyncio.to_thread(self.program.probe):
            await asyncio.sleep(_PROBE_SECONDS)
        self.ready.set()

    def _raise_if_hopeless(self, code: int, deaths: int) -> None:
        words = "\n".join(f"  {line}" for line in self._last_lines)
        if code == EXIT_CONFIG:
            raise StackError(f"{self.program.name} does not accept its settings:\n{words}", exit_code=EXIT_CONFIG)
        if not self.ready.is_set() and deaths >= _STARTS_BEFORE_READY:
            raise StackError(f"{self.program.name} does not start ({_said(code)}, {deaths} times):\n{words}")


def _said(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
