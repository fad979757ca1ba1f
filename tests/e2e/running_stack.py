"""The whole stack as its user runs it: ``headwater up`` as a process, with real servers, on a scratch home."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import httpx
import psutil

from headwater_local.ports import free_port
from headwater_local.stack_file import StackFile, read_stack
from servers import scratch_directory

GATEWAY_DID = "did:web:headwater.test"
_PATIENCE_SECONDS = 180.0
_LOG_TAIL_BYTES = 16_000
# What the developer's own environment says must not reach the stack under test.
_FOREIGN = (
    "NATS_URL",
    "DATABASE_URL",
    "GATEWAY_URL",
    "GATEWAY_DID",
    "GATEWAY_PUBLIC_URL",
    "PLC_URL",
    "WORKER_ID",
    "WORKER_COUNT",
)

T = TypeVar("T")


class RunningStack:
    """One ``headwater up`` that is ready. Waits block: call them from a thread where a loop has to go on."""

    def __init__(self, home: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        self.home = home
        self._process = process
        self._log = log
        self._seen: dict[int, psutil.Process] = {}
        stack = self._until(self._ready_stack)
        self.gateway_url = stack.gateway_url
        self.database_url = stack.database_url
        self.nats_url = stack.nats_url
        self.token = (home / "operator-token").read_text().strip()

    @property
    def log_size(self) -> int:
        """Bytes of log so far, to name a place in it."""
        return self._log.stat().st_size

    def log(self, since: int = 0) -> str:
        """What the stack has said since a place in its log, the end of it where that is long."""
        text = self._log.read_bytes()[since:]
        cut = "…" if len(text) > _LOG_TAIL_BYTES else ""
        return cut + text[-_LOG_TAIL_BYTES:].decode(errors="replace")

    def whole_log(self) -> str:
        """All that the stack has said."""
        return self._log.read_text(errors="replace")

    def pid(self, name: str) -> int:
        """The pid of ``indexer.0``, ``nats``, …; waits while it is being started again."""
        return self._until(lambda: self._pid(name))

    def kill(self, name: str) -> int:
        """SIGKILL to this one process; its pid."""
        pid = self.pid(name)
        self._remember()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return pid

    def health_url(self, name: str) -> str:
        """Where a service answers /healthz, /readyz and /metrics."""
        url = self._stack().processes[name].health_url
        assert url is not None
        return url

    def wait_ready(self) -> None:
        """Wait until the gateway says that the whole stack can take a request."""
        self._until(lambda: True if self._readyz() else None)

    def stop(self) -> None:
        """Ctrl-C: everything ends in order, with exit code 0, and leaves no process behind."""
        self._remember()
        self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"does not stop:\n{self.log()}") from None
        assert code == 0, f"exit code {code}:\n{self.log()}"
        _, left = psutil.wait_procs(self._seen.values(), timeout=20)
        assert not left, f"left behind: {left}"
        assert read_stack(self.home) is None

    def _remember(self) -> None:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._process.pid).children(recursive=True):
                self._seen[child.pid] = child

    def _pid(self, name: str) -> int | None:
        process = self._stack().processes.get(name)
        return None if process is None or process.handle() is None else process.pid

    def _stack(self) -> StackFile:
        stack = read_stack(self.home)
        assert stack is not None, self.log()
        return stack

    def _ready_stack(self) -> StackFile | None:
        stack = read_stack(self.home)
        return stack if stack is not None and stack.ready and stack.runner.pid == self._process.pid else None

    def _readyz(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.gateway_url}/readyz", trust_env=False).status_code == 200
        return False

    def _until(self, find: Callable[[], T | None]) -> T:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if (found := find()) is not None:
                return found
            assert self._process.poll() is None, f"the stack has ended:\n{self.log()}"
            time.sleep(0.05)
        raise AssertionError(f"waited {_PATIENCE_SECONDS:.0f} s in vain:\n{self.log()}")


@contextmanager
def running_stack(plc_url: str, *arguments: str, **variables: str) -> Iterator[RunningStack]:
    """``headwater up`` with ``arguments`` and further variables, on the given PLC directory; stopped at the end.

    With HEADWATER_HOME among the variables, what a former stack left there is taken up.
    The end checks that it stops cleanly, unless the block has failed already.
    """
    with scratch_directory() as directory:
        directory.chmod(0o711)  # where root runs this, Postgres runs as another user and must get through
        log = directory / "up.log"
        environment = {name: value for name, value in os.environ.items() if _is_harmless(name)} | {
            "HEADWATER_HOME": str(directory / "home"),
            "GATEWAY_PORT": str(free_port()),
            "GATEWAY_DID": GATEWAY_DID,
            "PLC_URL": plc_url,
            "ALLOW_PRIVATE_HOSTS": "1",
            **variables,
        }
        command = [sys.executable, "-m", "headwater_local", "up", *arguments]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=directory)
        try:
            stack = RunningStack(Path(environment["HEADWATER_HOME"]), process, log)
            yield stack
            stack.stop()
        finally:
            _end(process)


def _is_harmless(name: str) -> bool:
    return name not in _FOREIGN and not name.startswith("HEADWATER_")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the runner and what it started, where a test that failed has left them."""
    if process.poll() is not None:
        return
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
