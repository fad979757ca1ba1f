"""Browsers in which an operator is logged in: as ``auth.sessions`` keeps users', in a bucket of their own.

The browser holds a random secret, the bucket its hash. A session is bound to the token that began it: when the
operators' token is changed, all of them have ended.
"""

from __future__ import annotations

from typing import Final

from nats.js.errors import KeyNotFoundError
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from api_gateway.auth.operator import OperatorToken, operator_cookie
from api_gateway.auth.pending_logins import digest, new_secret
from api_gateway.auth.same_origin import check_own_page
from api_gateway.auth.site import Site
from api_gateway.bus import Bus
from headwater.clock import now_us

SESSION_SECONDS: Final = 12 * 3_600
"""How long a session lasts, from the login on; the bucket's ttl."""
_SECRET_LENGTH: Final = 43


class OperatorSession(BaseModel):
    """A browser of an operator. ``token`` is the fingerprint of the token that it was begun with."""

    model_config = ConfigDict(frozen=True)

    began_at_us: int
    token: str


class OperatorBrowsers:
    """Begins, finds and ends the sessions of operators. All raise nats errors and Problem 503."""

    def __init__(self, bus: Bus, site: Site, token: OperatorToken) -> None:
        self._bus = bus
        self._site = site
        self._token = token

    async def begin(self, response: Response) -> None:
        """Let the browser that gets this response in."""
        secret = new_secret()
        session = OperatorSession(began_at_us=now_us(), token=self._token.fingerprint)
        await self._bus.operators.put(digest(secret), session.model_dump_json().encode())
        # Strict: no link, form or script of another site brings it along.
        secure = self._site.secure
        name = operator_cookie(secure=secure)
        response.set_cookie(name, secret, SESSION_SECONDS, path="/", secure=secure, httponly=True, samesite="strict")

    async def session(self, request: Request) -> OperatorSession | None:
        """The session of the browser that asks; None without one, or when it has ended."""
        secret = self._secret(request)
        if secret is None:
            return None
        try:
            entry = await self._bus.operators.get(digest(secret))
        except KeyNotFoundError:
            return None
        session = OperatorSession.model_validate_json(entry.value or b"")
        lasts = now_us() - session.began_at_us < SESSION_SECONDS * 1_000_000
        return session if lasts and session.token == self._token.fingerprint else None

    async def end(self, request: Request, response: Response) -> None:
        """Log this browser out."""
        secret = self._secret(request)
        if secret is not None:
            await self._bus.operators.delete(digest(secret))
        secure = self._site.secure
        name = operator_cookie(secure=secure)
        response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="strict")

    def check_own_page(self, request: Request) -> None:
        """Raises Problem 403 for a request to change something that does not come from our own pages."""
        check_own_page(request.method, request.headers, frozenset({self._site.origin(request)}))

    def _secret(self, request: Request) -> str | None:
        secret = request.cookies.get(operator_cookie(secure=self._site.secure))
        return secret if secret is not None and len(secret) == _SECRET_LENGTH else None
