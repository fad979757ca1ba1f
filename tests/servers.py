"""The servers that integration tests run against: embedded ones, or containers with ``--backend=containers``."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from headwater_local.nats import MAX_PAYLOAD_BYTES, EmbeddedNats
from headwater_local.ports import take_port
from headwater_local.postgres import EmbeddedPostgres
from headwater_local.program import started

POSTGRES_IMAGE = "postgres:18-alpine"
NATS_IMAGE = "nats:2.15-alpine"


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory outside pytest's own, which Postgres' system user may not enter when root runs the tests."""
    directory = Path(tempfile.mkdtemp(prefix="headwater-test-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def running_postgres(backend: str = "embedded") -> Iterator[str]:
    """A Postgres server without durability; yields the URL of its maintenance database."""
    with ExitStack() as stack:
        if backend == "containers":
            from testcontainers.community.postgres import PostgresContainer

            container = stack.enter_context(PostgresContainer(POSTGRES_IMAGE, driver=None))
            yield container.get_connection_url()
            return
        directory = stack.enter_context(scratch_directory())
        server = EmbeddedPostgres(directory / "postgres", take_port(), throwaway=True)
        stack.enter_context(started(server.program(), log=directory / "postgres.log", timeout=120))
        yield server.url("postgres")


@contextmanager
def running_nats(backend: str = "embedded") -> Iterator[str]:
    """A NATS server with JetStream; yields its URL."""
    with ExitStack() as stack:
        directory = stack.enter_context(scratch_directory())
        if backend == "containers":
            from testcontainers.core.container import DockerContainer
            from testcontainers.core.wait_strategies import LogMessageWaitStrategy

            configuration = directory / "nats.conf"
            configuration.write_text(f"jetstream {{}}\nmax_payload: {MAX_PAYLOAD_BYTES}\n")
            configuration.chmod(0o644)
            directory.chmod(0o755)
            container = DockerContainer(NATS_IMAGE).with_exposed_ports(4222)
            container.with_volume_mapping(str(configuration), "/etc/nats/nats-server.conf", "ro")
            container.waiting_for(LogMessageWaitStrategy("Server is ready"))
            stack.enter_context(container)
            yield f"nats://{container.get_container_host_ip()}:{container.get_exposed_port(4222)}"
            return
        server = EmbeddedNats(directory / "nats", take_port())
        stack.enter_context(started(server.program(), log=directory / "nats.log", timeout=120))
        yield server.url
