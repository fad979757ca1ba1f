"""The skeleton of a service: one process, one broker, three health routes, and tasks whose failure ends it."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import uvicorn
import uvloop
from faststream.asgi import AsgiFastStream
from faststream.nats import NatsBroker
from nats.aio.client import Client

from headwater.cancelling import cancel_and_wait, run_alone
from headwater.health import ASGIApp, Readiness
from headwater.settings import ServiceSettings

log = logging.getLogger("headwater.service")

EXIT_INVARIANT = 70
"""The exit code when a promise of ours was broken or a task failed (EX_SOFTWARE of sysexits.h)."""

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than clients keep one (httpx 5 s, proxies commonly 60 s). Whoever
closes first must be the client, or a request can go out on a connection that is just being closed."""


def nats_broker(settings: ServiceSettings, name: str) -> NatsBroker:
    """A broker that reconnects for ever and never gives up its subscriptions."""
    return NatsBroker(
        settings.nats_url,
        name=f"{name}.{settings.worker_id}",
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        connect_timeout=5,
        ping_interval=10,
        max_outstanding_pings=3,
        graceful_timeout=20,
        logger=None,
    )


def asgi_app(
    broker: NatsBroker, work: Callable[[], AbstractAsyncContextManager[None]], routes: list[tuple[str, ASGIApp]]
) -> AsgiFastStream:
    """The service as an ASGI application, at work within the context that ``work`` gives.

    On an orderly stop that context is left first. FastStream by itself closes the broker before it leaves its
    lifespan, and then nothing can be given back, acknowledged, or said farewell to any more.
    """
    stack = AsyncExitStack()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with stack:
            await stack.enter_async_context(work())
            yield

    return AsgiFastStream(broker, lifespan=lifespan, on_shutdown=[stack.aclose], logger=None, asgi_routes=routes)


async def watch_bus(client: Client, readiness: Readiness) -> None:
    """Keep the readiness condition ``nats`` true to the connection, until cancelled."""
    while True:
        if client.is_connected:
            readiness.met("nats")
        else:
            readiness.unmet("nats", "not connected")
        await asyncio.sleep(0.5)


class Server:
    """Serves an ASGI application on a port (0 takes a free one) until told to stop, and runs tasks beside it."""

    def __init__(self, app: Any, host: str, port: int) -> None:
        self._socket = socket.create_server((host, port), reuse_port=False)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            lifespan="on",
            timeout_graceful_shutdown=5,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            loop="none",
        )
        self._server = uvicorn.Server(config)

    async def serve(self) -> bool:
        """Serve until SIGTERM or SIGINT; whether the application started."""
        await self._server.serve(sockets=[self._socket])
        return self._server.started

    def stop(self) -> None:
        """End ``serve`` in good order."""
        self._server.should_exit = True


class Tasks:
    """The background tasks of a process. One that raises is logged and ends the process with ``EXIT_INVARIANT``."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: Server | None = None
        self.failed = False

    def bind(self, server: Server) -> None:
        """The server to stop when a task fails."""
        self._server = server

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run ``work`` in the background under a name for the log."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            log.critical("task %s failed; the process ends", task.get_name(), exc_info=error)
            self.failed = True
            if self._server is not None:
                self._server.stop()

    async def stop(self) -> None:
        """Cancel all tasks and wait for them."""
        await cancel_and_wait(self._tasks)


def _collect_rarely() -> None:
    """Keep the cycle collector from walking over what lives as long as the process, again and again.

    Records are strings and bytes, which it does not track; but the containers that they pass through made it run often
    enough to cost a fifth of the time of a worker that fetches small repos.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def run(app: Any, settings: ServiceSettings, tasks: Tasks, *, host: str | None = None, port: int | None = None) -> int:
    """Serve ``app`` and run until told to stop. Returns the process's exit code.

    ``app`` is an ASGI application whose lifespan starts and stops the service.
    """
    server = Server(app, host or settings.headwater_health_host, settings.health_port if port is None else port)
    tasks.bind(server)
    log.info("listening on port %d", server.port)
    # uvicorn raises the signal that stopped it once more; without handlers of ours the process would die of it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    _collect_rarely()
    started = uvloop.run(run_alone(server.serve()))
    return EXIT_INVARIANT if tasks.failed or not started else 0
