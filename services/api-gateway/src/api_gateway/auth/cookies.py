"""The two cookies of a browser: its session, and the mark of a login under way (RFC 6265bis).

Both are HttpOnly and SameSite=Lax: they come along when another site's page leads here, as a callback does, and with
nothing else that another site asks. On https both are Secure, with the ``__Host-`` prefix for the session's: no
subdomain can set it.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from api_gateway.auth.sessions import SESSION_SECONDS

_LOGIN_SECONDS: Final = 600
_LOGIN: Final = "headwater-login"


def session_cookie(*, secure: bool) -> str:
    """The name of the session's cookie."""
    return "__Host-headwater-session" if secure else "headwater-session"


def read_session(request: Request, *, secure: bool) -> str | None:
    """The session's secret that the browser brings."""
    return request.cookies.get(session_cookie(secure=secure))


def read_login(request: Request) -> str | None:
    """The mark of a login under way that the browser brings."""
    return request.cookies.get(_LOGIN)


def keep_session(response: Response, secret: str, *, secure: bool) -> None:
    """Give the browser its session, and take the login's mark back."""
    name = session_cookie(secure=secure)
    response.set_cookie(name, secret, SESSION_SECONDS, path="/", secure=secure, httponly=True, samesite="lax")
    response.delete_cookie(_LOGIN, path="/oauth", secure=secure, httponly=True, samesite="lax")


def keep_login(response: Response, browser: str, *, secure: bool) -> None:
    """Give the browser the mark by which its callback is known."""
    response.set_cookie(_LOGIN, browser, _LOGIN_SECONDS, path="/oauth", secure=secure, httponly=True, samesite="lax")


def forget_session(response: Response, *, secure: bool) -> None:
    """Take the session's cookie back."""
    response.delete_cookie(session_cookie(secure=secure), path="/", secure=secure, httponly=True, samesite="lax")
