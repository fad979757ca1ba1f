"""``stack.json``: how the other commands, and tests, find a running stack. And the lock that keeps a home to one.

The file holds passwords inside its URLs, hence mode 0600. It is removed when the stack stops; after a crash of the
runner it stays behind and names the processes that the next start has to end.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pydantic import BaseModel, ValidationError

from headwater_local.errors import StackError
from headwater_local.files import write_private

_FILE = "stack.json"
_LOCK = "lock"


class RunningProcess(BaseModel):
    """A process of the stack. ``created`` (seconds since 1970) tells it from a later one with the same pid."""

    pid: int
    created: float
    health_url: str | None = None

    @classmethod
    def of(cls, pid: int, health_url: str | None = None) -> RunningProcess | None:
        """The process with ``pid`` as it is now; None when it is gone."""
        try:
            return cls(pid=pid, created=psutil.Process(pid).create_time(), health_url=health_url)
        except psutil.NoSuchProcess:
            return None

    def handle(self) -> psutil.Process | None:
        """The live process, or None when it is gone, whoever has its pid now."""
        try:
            process = psutil.Process(self.pid)
        except psutil.NoSuchProcess:
            return None
        return process if abs(process.create_time() - self.created) < 1 else None


class StackFile(BaseModel):
    """What is running in a home. Process names are like ``indexer.0``, ``nats``, ``postgres``."""

    ready: bool
    runner: RunningProcess
    gateway_url: str
    nats_url: str
    database_url: str
    processes: dict[str, RunningProcess] = {}

    def write(self, home: Path) -> None:
        """Replace the file in ``home``."""
        write_private(home / _FILE, self.model_dump_json(indent=2) + "\n")


def read_stack(home: Path) -> StackFile | None:
    """What runs in ``home``, or ran there when its runner crashed; None when nothing does."""
    try:
        return StackFile.model_validate_json((home / _FILE).read_text())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise StackError(f"{home / _FILE} is not readable: {error}") from error


def running_stack(home: Path) -> StackFile:
    """What runs in ``home``. Raises StackError when nothing does."""
    stack = read_stack(home)
    if stack is None or stack.runner.handle() is None:
        raise StackError(
            f"nothing runs in {home.absolute()}; start it with `headwater up`, or say with HEADWATER_HOME where it is"
        )
    return stack


def remove_stack(home: Path) -> None:
    """Forget the stack of ``home``."""
    (home / _FILE).unlink(missing_ok=True)


@contextmanager
def locked_home(home: Path) -> Iterator[None]:
    """Hold ``home`` for one runner; the system lets go of it when the process ends, however it ends.

    Raises StackError when another runner holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / _LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StackError(f"another `headwater up` (pid {lock.read().strip()}) runs in {home}") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def end_leftovers(home: Path, timeout: float = 15.0) -> list[str]:
    """End what a crashed runner left running in ``home``; ``timeout`` in seconds before killing. Returns the names."""
    stack = read_stack(home)
    if stack is None:
        return []
    left = {name: handle for name, process in stack.processes.items() if (handle := process.handle()) is not None}
    for handle in left.values():
        handle.terminate()
    _, alive = psutil.wait_procs(list(left.values()), timeout=timeout)
    for handle in alive:
        handle.kill()
    psutil.wait_procs(alive, timeout=timeout)
    remove_stack(home)
    return list(left)
