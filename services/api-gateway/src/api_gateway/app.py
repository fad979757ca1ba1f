"""The composition root: makes the parts of the gateway and gives them to the routes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api_gateway import problems
from api_gateway.abandoned_cars import sweep_abandoned
from api_gateway.acceptance import Acceptance
from api_gateway.auth.browser import Browsers
from api_gateway.auth.login import Logins
from api_gateway.auth.login_limits import LoginLimits, TokenLimits
from api_gateway.auth.operator import load_operator_token
from api_gateway.auth.operator_sessions import OperatorBrowsers
from api_gateway.auth.service_auth import ServiceAuth
from api_gateway.auth.site import Site
from api_gateway.bounded_body import BoundedBody
from api_gateway.bus import Bus
from api_gateway.cooldown import RequestLimits
from api_gateway.dead_letters.store import DeadLetters
from api_gateway.follow import Followers
from api_gateway.gateway import Gateway
from api_gateway.job_index import JobIndex
from api_gateway.metrics import Measured
from api_gateway.oauth.client_key import load_client_key
from api_gateway.panel.errors import error_page
from api_gateway.rates import Rates
from api_gateway.readiness import SERVICE, stack_readiness, watch_stack
from api_gateway.routes import (
    admin,
    admin_forms,
    admin_login,
    admin_pages,
    assets,
    dead_letters,
    firehose,
    imports,
    login,
    own_data,
    pages,
    panel,
    panel_own_data,
    user,
)
from api_gateway.security_headers import SecurityHeaders
from api_gateway.settings import GatewaySettings
from headwater.dns_lookup import DnsLookup
from headwater.egress import egress_policy
from headwater.health import ASGIApp, health_routes
from headwater.http import GuardedHttp
from headwater.identity import IdentityResolver
from headwater.service import Tasks, nats_broker

log = logging.getLogger("api_gateway")

_DESCRIPTION = """
Ask for backfills of AT Protocol accounts and follow them.

Users log in at `/user` in a browser, whose session then opens the routes below too, or send a service-auth token
(`com.atproto.server.getServiceAuth`) whose `aud` is this gateway's DID, see `/.well-known/did.json`, and whose `lxm`
is the route's method, `x-lxm` below. A token for a POST or DELETE is good for one request; one for a GET until it
expires. Operators log in at `/admin` with the token in `HEADWATER_HOME/operator-token`, or send it as a bearer token.

Whatever is refused is said in a problem document (RFC 9457); its `reason` is for programs.
"""


class _Endpoint:
    """An ASGI application as the endpoint of one route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""
        await self._app(scope, receive, send)


def create_app(settings: GatewaySettings, tasks: Tasks) -> FastAPI:
    """The gateway as an ASGI application. ``tasks`` run beside it.

    Raises InvariantError and OSError when the operators' token, or the OAuth client's key, cannot be made or read.
    """
    operator = load_operator_token(settings.headwater_home)
    site = _site(settings)
    readiness = stack_readiness()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        bus = Bus(nats_broker(settings, SERVICE))
        async with _network(settings) as (http, resolver):
            app.state.gateway = Gateway(
                settings=settings,
                bus=bus,
                acceptance=Acceptance(bus, tasks),
                request_limits=RequestLimits(),
                users=ServiceAuth(settings.did, resolver, bus),
                site=site,
                browsers=Browsers(bus, site),
                logins=Logins(bus, http, resolver),
                login_limits=LoginLimits(),
                operator=operator,
                operator_browsers=OperatorBrowsers(bus, site, operator),
                token_limits=TokenLimits(),
                dead_letters=DeadLetters(bus),
                job_index=JobIndex(bus),
                rates=Rates(),
                resolver=resolver,
                followers=Followers(),
                exports=Followers(each=2, total=50),
                readiness=readiness,
            )
            tasks.start(watch_stack(bus, readiness, settings.worker_id, settings.worker_count), "watch the stack")
            tasks.start(sweep_abandoned(bus), "sweep abandoned CARs")
            yield
            await tasks.stop()
            await bus.close()

    app = FastAPI(
        title="Headwater",
        description=_DESCRIPTION,
        version="0.1.0",
        lifespan=lifespan,
        redoc_url=None,
        docs_url=None,
    )
    for router in (user.router, own_data.router, imports.router, admin.router, dead_letters.router, firehose.router):
        app.include_router(router)
    for router in (admin_login.router, admin_forms.router, admin_pages.router):
        app.include_router(router)
    for router in (login.router, panel.router, panel_own_data.router, pages.router, assets.router):
        app.include_router(router)
    for path, endpoint in health_routes(SERVICE, readiness):
        app.router.routes.append(Route(path, _Endpoint(endpoint), include_in_schema=False))
    problems.install(app, page=error_page)
    # The last one added is the outermost.
    app.add_middleware(BoundedBody, streamed=(imports.PATH,))
    app.add_middleware(SecurityHeaders, secure=site.secure)
    app.add_middleware(Measured)
    if settings.proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=settings.proxies)
    elif site.secure:
        log.warning("GATEWAY_PROXIES is not set: all browsers count as one address, and share one limit of logins")
    return app


def _site(settings: GatewaySettings) -> Site:
    url = settings.gateway_public_url
    confidential = url is not None and url.startswith("https://")
    return Site(url, load_client_key(settings.headwater_home) if confidential else None)


@asynccontextmanager
async def _network(settings: GatewaySettings) -> AsyncIterator[tuple[GuardedHttp, IdentityResolver]]:
    trusted = [url for url in (settings.plc_url, settings.handle_resolver_url) if url]
    policy = egress_policy(allow_private_hosts=settings.allow_private_hosts, trusted_origins=trusted)
    async with GuardedHttp(policy, max_connections=64) as http:
        handles = settings.handle_resolver_url
        yield http, IdentityResolver(http, settings.plc_url, DnsLookup(), handle_resolver_url=handles)
