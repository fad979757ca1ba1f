"""What /metrics says of the gateway. No label holds a DID, an id or a path that a client chose."""

from __future__ import annotations

import time

from prometheus_client import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUESTS = Counter(
    "headwater_gateway_requests",
    "Requests by route and status. A rise of 5xx: the bus or the indexer is away, /readyz says which.",
    ["method", "route", "status"],
)
SECONDS = Histogram(
    "headwater_gateway_request_seconds",
    "Seconds until the response begins. Slow everywhere: NATS is slow; slow at stats and settings: Postgres is.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
VERDICTS = Counter(
    "headwater_gateway_backfill_requests",
    "Requests for backfills by outcome. Many job_running or cooldown: a client asks in a loop.",
    ["requested_by", "outcome"],
)
LOGINS = Counter(
    "headwater_gateway_logins",
    "Logins in a browser by outcome. Many login_refused or no_oauth: a host is out of order; many other_browser, "
    "login_used or issuer_mismatch: somebody tries to steal logins.",
    ["outcome"],
)
OPEN = Gauge("headwater_gateway_open_requests", "Requests in progress, event streams among them.")


class Measured:
    """ASGI middleware that counts and times what goes through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and note the status and the time of the response's first message."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "unmatched")
                REQUESTS.labels(_method(scope), route, str(message["status"])).inc()
                SECONDS.labels(route).observe(time.perf_counter() - began)
            await send(message)

        with OPEN.track_inprogress():
            await self._app(scope, receive, measured)


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in ("GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS") else "other"
