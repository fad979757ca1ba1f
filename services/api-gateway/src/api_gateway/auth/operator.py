"""Operators: whoever can read the token file on the gateway's machine."""

from __future__ import annotations

import logging
import os
import secrets
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api_gateway.problems import unauthorized
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

    Several gateways may start at once: the file appears whole or not at all, and the first one's stays.
    Raises InvariantError for a file that cannot be a token, OSError when it cannot be made or read.
    """
    path = home / FILE_NAME
    home.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _create(path)
    if path.stat().st_mode & 0o077:
        log.warning("others could read %s; its mode is 0600 now", path)
        path.chmod(0o600)
    token = path.read_text().strip()
    if len(token) < _MIN_LENGTH:
        raise InvariantError(f"{path} holds no token; remove it, and a new one is made at the next start")
    log.info("operators' token is in %s", path.absolute())
    return OperatorToken(token)


def _create(path: Path) -> None:
    draft = path.with_name(f".{FILE_NAME}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(_TOKEN_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            log.debug("another gateway made the token first")
    finally:
        draft.unlink()


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
