"""Headers that tell browsers what the gateway's answers are not for."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NOTHING: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# Pages are made of our own files alone: no inline script or style, nothing from elsewhere.
_PAGE: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action "
)
LOGIN_PAGE: Final = _PAGE + "'self' https: http://localhost:* http://127.0.0.1:*"
"""For pages with the login's form: it ends at somebody's authorization server, and browsers hold that against this."""
_PAGES: Final = ("/user", "/admin", "/docs", "/oauth/")


_HTTPS_ALONE: Final = "max-age=31536000"


class SecurityHeaders:
    """ASGI middleware that sets them on every response. ``secure``: browsers reach the gateway by https alone."""

    def __init__(self, app: ASGIApp, *, secure: bool = False) -> None:
        self._app = app
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on with the headers added to the response."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["X-Frame-Options"] = "DENY"
                # Not no-referrer: with that, browsers send "Origin: null" along with our own forms.
                headers["Referrer-Policy"] = "same-origin"
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                headers.setdefault("Content-Security-Policy", _policy(scope.get("path", "")))
                headers.setdefault("Cache-Control", "no-store")
                if self._secure:
                    headers["Strict-Transport-Security"] = _HTTPS_ALONE
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


def _policy(path: str) -> str:
    return _PAGE + "'self'" if path.startswith(_PAGES) else _NOTHING
