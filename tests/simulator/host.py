"""An HTTP host of the simulated network: one loopback port, a request log, scripted faults."""

from __future__ import annotations

import json
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from .faults import Faults
from .reply import Reply, send

_LOG_LENGTH = 100_000


class Logged(NamedTuple):
    """A request that came in: path without query, query parameters, method."""

    path: str
    params: dict[str, str]
    method: str = "GET"


@dataclass(slots=True)
class Traffic:
    """What a host has seen."""

    requests: deque[Logged] = field(default_factory=lambda: deque(maxlen=_LOG_LENGTH))
    in_flight: int = 0
    peak: int = 0


class Host(ABC):
    """A server that can be started, stopped and started again on the same port (0: any free one), until released."""

    def __init__(self, name: str, port: int = 0) -> None:
        self.name = name
        self.faults = Faults()
        self.traffic = Traffic()
        #: Answer files chunked, without Content-Length, as the reference PDS does; costs more than the default.
        self.chunked = False
        #: Paths that are answered on the connection itself: websockets.
        self.upgrades: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        self._socket: socket.socket | None = _listener(port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._runner: web.AppRunner | None = None

    @abstractmethod
    async def respond(self, request: web.Request) -> Reply:
        """The answer of a host in good health."""

    @property
    def requests(self) -> list[Logged]:
        """The requests so far, oldest first."""
        return list(self.traffic.requests)

    def count(self, path: str, **params: str) -> int:
        """How many requests had this in their path and these parameters."""
        return sum(path in seen.path and params.items() <= seen.params.items() for seen in self.traffic.requests)

    async def start(self) -> None:
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket or _listener(self.port)).start()

    async def stop(self) -> None:
        """Go down; connections break, and new ones are refused. The port is kept: any client's could be the same."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._socket = _listener(self.port)
        self._runner = None

    async def close(self) -> None:
        """Go down for good."""
        await self.stop()
        self.release()

    def release(self) -> None:
        """Give back the port of a host that is down."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.traffic.requests.append(Logged(request.path, dict(request.query), request.method))
        self.traffic.in_flight += 1
        self.traffic.peak = max(self.traffic.peak, self.traffic.in_flight)
        try:
            fault = self.faults.take(request)
            if fault is not None:
                return await fault.answer(request, self.respond)
            if request.path in self.upgrades:
                return await self.upgrades[request.path](request)
            return await send(request, await self.respond(request), chunked=self.chunked)
        finally:
            self.traffic.in_flight -= 1


def as_json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(json.dumps(content).encode(), "application/json; charset=utf-8", status, dict(headers or {}))


def as_file(path: Path, content_type: str) -> Reply:
    return Reply(path, content_type)


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener
