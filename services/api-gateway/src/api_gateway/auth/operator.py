"""Operators: whoever can read the token file on the gateway's machine."""

from __future__ import annotations

import logging
import secrets
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

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


async def operator(request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
    """A dependency: the request comes from an operator. Raises Problem 401."""
    token: OperatorToken = request.app.state.gateway.operator
    if bearer is None or not token.matches(bearer.credentials):
        raise unauthorized("not_an_operator", "send the operators' token as a bearer token")
