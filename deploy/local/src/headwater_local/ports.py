"""Which TCP port a server gets: its usual one when that is free, any other free one otherwise."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from pathlib import Path

LOOPBACK = "127.0.0.1"
_TRIES = 50
# Locks of ports that this process has taken; they go with the process, however it ends.
_taken: list[int] = []


def free_port(preferred: int = 0) -> int:
    """A TCP port on loopback that nobody listens on: ``preferred`` if possible (0: no preference)."""
    for candidate in (preferred, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # Without it the preferred port would look taken for a minute after every stop (TIME_WAIT).
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, candidate))
            except OSError:
                continue
            port: int = probe.getsockname()[1]
            return port
    raise OSError("no free TCP port on loopback")


def take_port(preferred: int) -> int:
    """As ``free_port``, and no other call of this function gets the same port while this process lives.

    Between choosing a port and listening on it seconds can pass, in which a stack that starts at the same moment
    would choose it too.
    """
    for _ in range(_TRIES):
        port = free_port(preferred)
        if _lock(port):
            return port
        preferred = 0
    raise OSError("no free TCP port on loopback")


def _lock(port: int) -> bool:
    directory = Path(tempfile.gettempdir()) / f"headwater-ports-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(directory / str(port), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    _taken.append(descriptor)
    return True
