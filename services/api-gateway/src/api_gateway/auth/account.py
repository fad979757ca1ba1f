"""The account that a request speaks for, however it proves that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from api_gateway.auth.browser import Browsers
from api_gateway.auth.cookies import session_cookie
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


_cookie = APIKeyCookie(
    name=session_cookie(secure=False),
    scheme_name="session",
    description="The session of a browser that logged in at /user (on https the name begins with __Host-). Requests "
    "that change something have to come from the gateway's own pages",
    auto_error=False,
)


def account_for(method: Method) -> Callable[..., Awaitable[Account]]:
    """A dependency: the account that asks for ``method``, by token, or by the session of its browser."""

    async def account(
        request: Request,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
        _: Annotated[str | None, Depends(_cookie)],
    ) -> Account:
        if bearer is not None:
            authenticator: Authenticator = request.app.state.gateway.users
            return await authenticator.authenticate(bearer.credentials, method)
        browsers: Browsers = request.app.state.gateway.browsers
        session = await browsers.session(request)
        if session is None:
            raise unauthorized("no_credentials", f"log in at /user, or send a service-auth token with lxm {method}")
        if method.changes:
            browsers.check_own_page(request)
        return Account(session.did)

    return account
