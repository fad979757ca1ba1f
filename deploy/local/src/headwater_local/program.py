"""One program to run: how to start it, how to know that it is ready, how to ask it to stop.

Only a description and its blocking use (``started``, for tests and short-lived servers) live here; keeping
programs alive is ``supervisor``'s job.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater_local.errors import StackError

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Program:
    """A process to start.

    ``probe`` is blocking, takes well under a second and answers whether the program can be used. ``prepare`` is
    blocking too, and runs before every start. ``user`` is the name of the system user to run as (None: the one that
    calls). ``health_url`` is where the program answers /readyz, when it does. ``is_routine`` tells the lines of its
    output that nobody needs to see while all goes well.
    """

    name: str
    argv: tuple[str, ...]
    probe: Callable[[], bool]
    prepare: Callable[[], None] = field(default=lambda: None)
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    health_url: str | None = None
    is_routine: Callable[[str], bool] = field(default=lambda line: False)


def spawn_options(program: Program) -> dict[str, Any]:
    """The keyword arguments that ``subprocess`` and ``asyncio`` take to start ``program``.

    Each program gets a session of its own: a Ctrl-C at the terminal reaches the runner alone, which then stops
    the programs in order.
    """
    options: dict[str, Any] = {
        "env": None if program.env is None else dict(program.env),
        "cwd": program.cwd,
        "stdin": subprocess.DEVNULL,
        "start_new_session": True,
    }
    if program.user is not None:
        options |= {"user": program.user, "group": program.user, "extra_groups": []}
    return options


@contextmanager
def started(program: Program, *, log: Path, timeout: float = 30.0) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``program`` for the length of the block, its output appended to ``log``.

    ``timeout`` is in seconds, for getting ready and again for stopping. Raises StackError when it does not get ready.
    """
    program.prepare()
    with log.open("ab") as output:
        process = subprocess.Popen(program.argv, stdout=output, stderr=output, **spawn_options(program))
    try:
        _wait_until_ready(program, process, log, timeout)
        yield process
    finally:
        stop(process, program.stop_signal, timeout)


def stop(process: subprocess.Popen[bytes], stop_signal: signal.Signals, timeout: float) -> None:
    """Ask ``process`` to stop; after ``timeout`` seconds kill it. A process that is gone already is fine."""
    if process.poll() is None:
        process.send_signal(stop_signal)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_ready(program: Program, process: subprocess.Popen[bytes], log: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StackError(f"{program.name} exited with {process.returncode} at start:\n{_tail(log)}")
        if program.probe():
            return
        time.sleep(_POLL_SECONDS)
    raise StackError(f"{program.name} was not ready after {timeout:.0f} s:\n{_tail(log)}")


def _tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
