"""The account that a request speaks for, however it proves that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api_gateway.auth.methods import Method
from api_gateway.problems import unauthorized


@dataclass(frozen=True)
class Account:
    """An authenticated account: all that a user route acts on is this one's."""

    did: str


class Authenticator(Protocol):
    """A way for users to prove who they are."""

    async def authenticate(self, credentials: str, method: Method) -> Account:
        """The account that these credentials prove. Raises Problem 401."""


_bearer = HTTPBearer(
    scheme_name="service auth",
    bearerFormat="JWT",
    description="A token of com.atproto.server.getServiceAuth: aud is the gateway's DID, lxm the route's method",
    auto_error=False,
)


def account_for(method: Method) -> Callable[..., Awaitable[Account]]:
    """A dependency: the account that asks for ``method``."""

    async def account(
        request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> Account:
        if bearer is None:
            raise unauthorized("no_credentials", f"send a service-auth token with lxm {method}")
        authenticator: Authenticator = request.app.state.gateway.users
        return await authenticator.authenticate(bearer.credentials, method)

    return account
