"""Which TCP port a server gets: its usual one when that is free, any other free one otherwise."""

from __future__ import annotations

import fcntl
import functools
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import Final

LOOPBACK = "127.0.0.1"
_TRIES = 50
# Systems give none of these to whoever connects or asks for any port (Linux: from 32768 on, others: from 49152 on), so
# a server that starts slowly, or comes back, finds its own free.
_OURS: Final = range(15_000, 30_000)
_taken: set[int] = set()


def free_port(preferred: int = 0) -> int:
    """A TCP port on loopback that nobody listens on: ``preferred`` if possible (0: no preference)."""
    for candidate in (*filter(None, [preferred]), *random.sample(_OURS, _TRIES), 0):
        if (port := _bound(candidate)) is not None:
            return port
    raise OSError("no free TCP port on loopback")


def take_port(preferred: int = 0) -> int:
    """As ``free_port``, and no other call of this function gets the same port while this process lives.

    Between choosing a port and listening on it seconds can pass, in which a stack that starts at the same moment
    would choose it too.
    """
    for _ in range(_TRIES):
        port = free_port(preferred)
        if _claim(port):
            return port
        preferred = 0
    raise OSError("no free TCP port on loopback")


def _bound(port: int) -> int | None:
    """The port if it can be bound (0: any that can)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without it the preferred port would look taken for a minute after every stop (TIME_WAIT).
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return None
        bound: int = probe.getsockname()[1]
        return bound


def _claim(port: int) -> bool:
    if port in _taken:
        return False
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _taken.add(port)
    return True


@functools.cache
def _claims() -> int:
    """The file of all claims, in which each port is a byte; opened once, and never closed.

    A process loses all its locks of a file with the first descriptor that it closes, and at its end, whatever that is.
    """
    directory = Path(tempfile.gettempdir()) / f"headwater-ports-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    return os.open(directory / "claims", os.O_RDWR | os.O_CREAT, 0o600)
