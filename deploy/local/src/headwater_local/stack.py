"""The stack: embedded servers where no URL is given, the services on top, started and stopped in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from headwater_local import nats, postgres
from headwater_local.nats import EmbeddedNats
from headwater_local.output import Output
from headwater_local.ports import LOOPBACK, take_port
from headwater_local.postgres import EmbeddedPostgres, ensure_database
from headwater_local.program import Program
from headwater_local.services import Workers, service_programs
from headwater_local.settings import RunnerSettings
from headwater_local.stack_file import RunningProcess, StackFile, remove_stack
from headwater_local.supervisor import Keeper

_STOP_SECONDS = 20.0
# How long a start may take before it is said what is waited for.
_SAY_SECONDS = 15.0


class Stack:
    """One home's servers and services. The caller holds the lock of the home."""

    def __init__(self, settings: RunnerSettings, workers: Workers, output: Output) -> None:
        self._home = settings.headwater_home.absolute()
        self._output = output
        self._groups: list[list[Keeper]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._failed = asyncio.Event()
        self._ready = False
        self._postgres, self.database_url = self._choose_postgres(settings)
        self._nats, self.nats_url = self._choose_nats(settings)
        port = self._choose_port("gateway", settings.gateway_port)
        self.gateway_url = f"http://{LOOPBACK}:{port}"
        self._services = service_programs(workers, port, self._environment())

    @property
    def home(self) -> Path:
        """Where the stack keeps its state, absolute."""
        return self._home

    async def start(self) -> None:
        """Start all, in order; returns when every service is ready."""
        servers = [server.program() for server in (self._postgres, self._nats) if server is not None]
        await self._start_together(servers)
        if self._postgres is not None:
            await ensure_database(self._postgres)
        await self._start_together(self._services)
        self._ready = True
        self._write_file()

    async def failed(self) -> None:
        """Wait until something fails for good, and raise why: a StackError where a person can mend it."""
        await self._failed.wait()
        for task in self._tasks:
            if task.done():
                task.result()

    async def stop(self) -> None:
        """Stop the services, then the servers: those that use before those that are used."""
        for group in reversed(self._groups):
            await asyncio.gather(*(keeper.stop(_STOP_SECONDS) for keeper in group))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        remove_stack(self._home)

    def kill(self) -> None:
        """End every process at once."""
        for group in self._groups:
            for keeper in group:
                keeper.kill()

    async def _start_together(self, programs: Sequence[Program]) -> None:
        keepers = [Keeper(program, self._output, self._write_file) for program in programs]
        self._groups.append(keepers)
        for keeper in keepers:
            task = asyncio.create_task(keeper.run())
            task.add_done_callback(lambda _: self._failed.set())  # a keeper ends by itself only when it gives up
            self._tasks.append(task)
        for keeper in keepers:
            await self._wait_ready(keeper)

    async def _wait_ready(self, keeper: Keeper) -> None:
        while not keeper.ready.is_set():
            try:
                await asyncio.wait_for(keeper.ready.wait(), _SAY_SECONDS)
            except TimeoutError:
                where = (
                    f"; {keeper.program.health_url}/readyz says for what it waits" if keeper.program.health_url else ""
                )
                self._output.say(f"{keeper.program.name} is not ready yet{where}")

    def _write_file(self) -> None:
        runner = RunningProcess.of(os.getpid())
        assert runner is not None
        processes = {}
        for keeper in (keeper for group in self._groups for keeper in group):
            if keeper.pid is not None:
                process = RunningProcess.of(keeper.pid, keeper.program.health_url)
                if process is not None:
                    processes[keeper.program.name] = process
        StackFile(
            ready=self._ready,
            runner=runner,
            gateway_url=self.gateway_url,
            nats_url=self.nats_url,
            database_url=self.database_url,
            processes=processes,
        ).write(self._home)

    def _choose_postgres(self, settings: RunnerSettings) -> tuple[EmbeddedPostgres | None, str]:
        if settings.database_url is not None:
            return None, settings.database_url
        server = EmbeddedPostgres(self._home / "postgres", self._choose_port("Postgres", postgres.DEFAULT_PORT))
        return server, server.url()

    def _choose_nats(self, settings: RunnerSettings) -> tuple[EmbeddedNats | None, str]:
        if settings.nats_url is not None:
            return None, settings.nats_url
        server = EmbeddedNats(self._home / "nats", self._choose_port("NATS", nats.DEFAULT_PORT))
        return server, server.url

    def _choose_port(self, name: str, preferred: int) -> int:
        port = take_port(preferred)
        if port != preferred:
            self._output.say(f"port {preferred} is taken; {name} takes {port}")
        return port

    def _environment(self) -> dict[str, str]:
        """What every service gets. It outranks ``.env``, which the services read themselves."""
        return {
            **os.environ,
            "NATS_URL": self.nats_url,
            "DATABASE_URL": self.database_url,
            "HEADWATER_HOME": str(self._home),
        }
