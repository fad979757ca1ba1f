"""What ``/healthz``, ``/readyz`` and ``/metrics`` answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from prometheus_client import REGISTRY, make_asgi_app

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class Readiness:
    """The named conditions under which a process can do its work; each says in a few words why not."""

    def __init__(self, *conditions: str) -> None:
        self._conditions = dict.fromkeys(conditions, "starting")

    def met(self, condition: str) -> None:
        """This condition holds."""
        self._conditions[condition] = ""

    def unmet(self, condition: str, why: str) -> None:
        """This condition does not hold, because."""
        self._conditions[condition] = why or "not ready"

    @property
    def ready(self) -> bool:
        """Whether all conditions hold."""
        return not any(self._conditions.values())

    @property
    def conditions(self) -> dict[str, str]:
        """Each condition with ``ok`` or the reason why it does not hold."""
        return {name: why or "ok" for name, why in self._conditions.items()}


def json_route(answer: Callable[[], tuple[int, object]]) -> ASGIApp:
    """An ASGI endpoint that answers GET with a status and a JSON body."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        status, body = answer()
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": orjson.dumps(body)})

    return app


def health_routes(service: str, readiness: Readiness) -> list[tuple[str, ASGIApp]]:
    """The three routes of every service: alive, ready (503 with the reasons when not), metrics."""

    def ready() -> tuple[int, object]:
        body = {"service": service, "ready": readiness.ready, "conditions": readiness.conditions}
        return (200 if readiness.ready else 503), body

    return [
        ("/healthz", json_route(lambda: (200, {"service": service, "alive": True}))),
        ("/readyz", json_route(ready)),
        ("/metrics", make_asgi_app(REGISTRY)),
    ]
