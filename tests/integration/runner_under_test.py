"""Drives ``headwater up`` as a process of its own, on a scratch home, with stand-ins for the four services.

The stand-ins (packages that come first on PYTHONPATH) answer /readyz and nothing else: what is tested is the runner.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from headwater_local.ports import free_port
from headwater_local.stack_file import StackFile, read_stack

PATIENCE_SECONDS = 150.0
SERVICES = ("indexer", "repo_backfill", "firehose_backfill", "api_gateway")

_STAND_IN = """
import http.server, os, signal, sys

if os.environ.get("STAND_IN_IS_DEAF") == __spec__.parent:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.environ.get("STAND_IN_REFUSES") == __spec__.parent:
    print("settings error: PLC_URL: says the stand-in", file=sys.stderr)
    raise SystemExit(78)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
    def log_message(self, *args):
        pass

print("stand-in", __spec__.parent, os.environ["WORKER_ID"], "of", os.environ["WORKER_COUNT"], flush=True)
print("uses", os.environ["NATS_URL"], "and", os.environ["DATABASE_URL"], flush=True)
port = int(os.environ.get("HEALTH_PORT") or os.environ["GATEWAY_PORT"])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""

T = TypeVar("T")


def write_stand_ins(directory: Path) -> Path:
    """A directory for PYTHONPATH whose packages have the services' names."""
    for service in SERVICES:
        package = directory / service
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(_STAND_IN)
    return directory


class Runner:
    """One run of ``headwater up``."""

    def __init__(self, home: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        self.home = home
        self.process = process
        self._log = log

    @property
    def output(self) -> str:
        """All that it has written so far, stdout and stderr."""
        return self._log.read_text(errors="replace")

    def wait_ready(self) -> StackFile:
        """The stack of this run (not of one that crashed in the same home) once every service is ready."""

        def find() -> StackFile | None:
            stack = read_stack(self.home)
            return stack if stack and stack.ready and stack.runner.pid == self.process.pid else None

        return self.wait_for(find)

    def wait_for(self, find: Callable[[], T | None]) -> T:
        """What ``find`` gives once it gives something; fails with the output when it never does."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if (found := find()) is not None:
                return found
            assert self.process.poll() is None, self.output
            time.sleep(0.05)
        raise AssertionError(f"waited {PATIENCE_SECONDS:.0f} s in vain:\n{self.output}")

    def restarted(self, name: str, pid: int) -> StackFile:
        """The stack once ``name`` runs with another pid than ``pid``."""

        def find() -> StackFile | None:
            stack = read_stack(self.home)
            there = stack is not None and name in stack.processes and stack.processes[name].pid != pid
            return stack if there else None

        return self.wait_for(find)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def running(directory: Path, *arguments: str, **variables: str) -> Iterator[Runner]:
    """``headwater up`` on ``directory / "home"``; killed at the end of the block if it still runs."""
    stand_ins = directory / "stand_ins"
    if not stand_ins.exists():
        write_stand_ins(stand_ins)
    home = directory / "home"
    log = directory / f"up-{len(list(directory.glob('up-*')))}.log"
    outside = {k: v for k, v in os.environ.items() if k not in {"NATS_URL", "DATABASE_URL"}}
    environment = {
        **outside,
        "PYTHONPATH": str(stand_ins),
        "HEADWATER_HOME": str(home),
        "GATEWAY_PORT": str(free_port()),
        **variables,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "headwater_local", "up", *arguments],
            stdout=output,
            stderr=output,
            env=environment,
            cwd=directory,
        )
    try:
        yield Runner(home, process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def retried(attempt: Callable[[], T], *errors: type[BaseException]) -> T:
    """The result of ``attempt``, tried again while a server that was killed comes back."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return attempt()
        except errors:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def command(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A ``headwater`` command run to its end on ``home``."""
    return subprocess.run(
        [sys.executable, "-m", "headwater_local", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "HEADWATER_HOME": str(home), **variables},
        cwd=home.parent,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def query(url: str, statement: str) -> object:
    """One value from Postgres."""
    import asyncpg

    async def fetch() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(fetch())
