"""Operators: whoever can read the token file on the gateway's machine, by the token or by a browser's session."""

from __future__ import annotations

import logging
import secrets
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Annotated, Protocol

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from api_gateway.problems import unauthorized
from api_gateway.secret_file import read_or_make
from headwater.errors import InvariantError

log = logging.getLogger("api_gateway.operator")

FILE_NAME = "operator-token"
_TOKEN_BYTES = 32
_MIN_LENGTH = 32


class OperatorToken:
    """The operators' secret; only its hash is kept in memory."""

    def __init__(self, token: str) -> None:
        self._digest = sha256(token.encode()).digest()

    @property
    def fingerprint(self) -> str:
        """What tells this token from another one; of no use to whoever reads it."""
        return sha256(self._digest).hexdigest()

    def matches(self, candidate: str) -> bool:
        """Whether this is the token; takes as long for a wrong one."""
        return compare_digest(sha256(candidate.encode("utf-8", "surrogatepass")).digest(), self._digest)


def load_operator_token(home: Path) -> OperatorToken:
    """The token in ``home``/operator-token, made at the first start with mode 0600.

    Raises InvariantError for a file that cannot be a token, OSError when it cannot be made or read.
    """
    path = home / FILE_NAME
    token = read_or_make(path, lambda: secrets.token_urlsafe(_TOKEN_BYTES))
    if len(token) < _MIN_LENGTH:
        raise InvariantError(f"{path} holds no token; remove it, and a new one is made at the next start")
    log.info("operators' token is in %s", path.absolute())
    return OperatorToken(token)


_bearer = HTTPBearer(
    scheme_name="operator token",
    description="The content of HEADWATER_HOME/operator-token",
    auto_error=False,
)


def operator_cookie(*, secure: bool) -> str:
    """The name of the cookie of an operator's browser."""
    return "__Host-headwater-operator" if secure else "headwater-operator"


_cookie = APIKeyCookie(
    name=operator_cookie(secure=False),
    scheme_name="operator session",
    description="The session of a browser in which an operator logged in at /admin (on https the name begins with "
    "__Host-). Requests that change something have to come from the gateway's own pages",
    auto_error=False,
)


class OperatorSessions(Protocol):
    """Finds the session of an operator's browser."""

    async def session(self, request: Request) -> object | None:
        """The session; None without one."""

    def check_own_page(self, request: Request) -> None:
        """Raises Problem 403 for a request that may change something and does not come from our own pages."""


async def operator(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    _: Annotated[str | None, Depends(_cookie)],
) -> None:
    """A dependency: the request comes from an operator. Raises Problem 401, 403, 503."""
    token: OperatorToken = request.app.state.gateway.operator
    if bearer is not None:
        if not token.matches(bearer.credentials):
            raise unauthorized("not_an_operator", "this is not the operators' token")
        return
    browsers: OperatorSessions = request.app.state.gateway.operator_browsers
    if await browsers.session(request) is None:
        raise unauthorized("not_an_operator", "log in at /admin, or send the operators' token as a bearer token")
    browsers.check_own_page(request)
