"""Who uses this browser: the session that its cookie names."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from api_gateway.auth.cookies import read_session
from api_gateway.auth.same_origin import check_own_page
from api_gateway.auth.sessions import Session, find_session
from api_gateway.auth.site import Site
from api_gateway.bus import Bus


@dataclass(frozen=True)
class Browsers:
    """Finds sessions by cookie."""

    bus: Bus
    site: Site

    async def session(self, request: Request) -> Session | None:
        """The session of the browser that asks; None without one. Raises nats errors, Problem 503."""
        secret = read_session(request, secure=self.site.secure)
        return None if secret is None else await find_session(self.bus, secret)

    def check_own_page(self, request: Request) -> None:
        """Raises Problem 403 for a request to change something that does not come from our own pages."""
        check_own_page(request.method, request.headers, frozenset({self.site.origin(request)}))
