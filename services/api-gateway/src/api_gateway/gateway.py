"""What the routes stand on, made once by ``api_gateway.app``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api_gateway.acceptance import Acceptance
from api_gateway.auth.account import Authenticator
from api_gateway.auth.browser import Browsers
from api_gateway.auth.login import Logins
from api_gateway.auth.login_limits import LoginLimits, TokenLimits
from api_gateway.auth.operator import OperatorToken
from api_gateway.auth.operator_sessions import OperatorBrowsers
from api_gateway.auth.site import Site
from api_gateway.bus import Bus
from api_gateway.cooldown import RequestLimits
from api_gateway.dead_letters.store import DeadLetters
from api_gateway.follow import Followers
from api_gateway.job_index import JobIndex
from api_gateway.rates import Rates
from api_gateway.settings import GatewaySettings
from headwater.health import Readiness
from headwater.identity import IdentityResolver


@dataclass(frozen=True)
class Gateway:
    """The parts of a running gateway."""

    settings: GatewaySettings
    bus: Bus
    acceptance: Acceptance
    request_limits: RequestLimits
    users: Authenticator
    site: Site
    browsers: Browsers
    logins: Logins
    login_limits: LoginLimits
    operator: OperatorToken
    operator_browsers: OperatorBrowsers
    token_limits: TokenLimits
    dead_letters: DeadLetters
    job_index: JobIndex
    rates: Rates
    resolver: IdentityResolver
    followers: Followers
    exports: Followers
    readiness: Readiness


async def _gateway(request: Request) -> Gateway:
    # Not a plain function: that would be called in a thread, for every request.
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayDep = Annotated[Gateway, Depends(_gateway)]
"""A route's parameter of this type is the running gateway."""
