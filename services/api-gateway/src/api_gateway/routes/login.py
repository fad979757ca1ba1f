"""Logging in and out in a browser, by AT Protocol OAuth (https://atproto.com/specs/oauth)."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from api_gateway.auth.cookies import forget_session, keep_login, keep_session, read_login, read_session
from api_gateway.auth.login import MAX_ACTOR, Callback
from api_gateway.auth.sessions import begin_session, end_all_sessions, end_session
from api_gateway.gateway import Gateway, GatewayDep
from api_gateway.metrics import LOGINS
from api_gateway.oauth.client import CALLBACK_PATH, JWKS_PATH, METADATA_PATH, OAuthClient
from api_gateway.panel.templates import page
from api_gateway.panel.words import words_of
from api_gateway.problems import EXPECTED, Problem, problem_of
from api_gateway.routes.forms import form_of
from api_gateway.security_headers import LOGIN_PAGE

log = logging.getLogger("api_gateway.login")

router = APIRouter(include_in_schema=False)

_LOGIN_PAGE = {"Content-Security-Policy": LOGIN_PAGE}


def login_page(status: int = 200, *, actor: str = "", problem: Problem | None = None) -> Response:
    """The page that asks who is there, after a failed try with what went wrong."""
    words = None if problem is None else words_of(problem.reason, problem.detail)
    headers = _LOGIN_PAGE if problem is None else {**problem.headers, **_LOGIN_PAGE}
    return page("login.html", status, headers, actor=actor, words=words, problem=problem)


@router.post("/oauth/login")
async def begin_login(request: Request, gateway: GatewayDep) -> Response:
    """Send the browser to the authorization server of whoever it says it is."""
    gateway.browsers.check_own_page(request)
    actor = (await form_of(request)).get("actor", "").strip()
    try:
        if not 0 < len(actor) <= MAX_ACTOR:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "syntax", "name a handle, a DID or a host")
        gateway.login_limits.check(request.client.host if request.client else "", actor)
        begun = await gateway.logins.begin(gateway.site.client(request), actor, read_login(request))
    except EXPECTED as error:
        problem = _counted(error)
        return login_page(problem.status.value, actor=actor[:MAX_ACTOR], problem=problem)
    response = RedirectResponse(begun.url, HTTPStatus.SEE_OTHER)
    keep_login(response, begun.browser, secure=gateway.site.secure)
    return response


@router.get(CALLBACK_PATH)
async def end_login(request: Request, gateway: GatewayDep) -> Response:
    """Where the authorization server sends the browser back to."""
    query = request.query_params
    callback = Callback(
        state=query.get("state", ""),
        code=query.get("code"),
        issuer=query.get("iss"),
        error=query.get("error"),
        browser=read_login(request),
    )
    try:
        account = await gateway.logins.finish(gateway.site.client(request), callback)
    except EXPECTED as error:
        problem = _counted(error)
        return login_page(problem.status.value, problem=problem)
    await _end_old_session(request, gateway)
    secret = await begin_session(gateway.bus, account.did, account.handle)
    LOGINS.labels("logged_in").inc()
    log.info("%s logged in", account.did)
    response = RedirectResponse("/user", HTTPStatus.SEE_OTHER)
    keep_session(response, secret, secure=gateway.site.secure)
    return response


@router.post("/oauth/logout")
async def log_out(request: Request, gateway: GatewayDep) -> Response:
    """End this browser's session; with ``everywhere`` in the form, all sessions of the account."""
    gateway.browsers.check_own_page(request)
    everywhere = "everywhere" in await form_of(request)
    session = await gateway.browsers.session(request)
    if session is not None and everywhere:
        log.info("%s logged out of %d browsers", session.did, await end_all_sessions(gateway.bus, session.did))
    else:
        await _end_old_session(request, gateway)
    response = RedirectResponse("/user", HTTPStatus.SEE_OTHER)
    forget_session(response, secure=gateway.site.secure)
    return response


@router.get(METADATA_PATH)
async def client_metadata(gateway: GatewayDep) -> dict[str, Any]:
    """Who we are, for authorization servers. Only with a public URL: on loopback the client id says it all."""
    return _hosted(gateway).metadata()


@router.get(JWKS_PATH)
async def client_keys(gateway: GatewayDep) -> Response:
    """The keys that our client assertions are signed with."""
    # Not as application/jwk-set+json (RFC 7517 section 8.5.1): the reference PDS takes application/json alone.
    return JSONResponse(_hosted(gateway).jwks())


def _hosted(gateway: Gateway) -> OAuthClient:
    client = gateway.site.hosted_client
    if client is None:
        raise Problem(HTTPStatus.NOT_FOUND, "not_found", "this gateway has no public URL")
    return client


async def _end_old_session(request: Request, gateway: Gateway) -> None:
    secret, session = read_session(request, secure=gateway.site.secure), await gateway.browsers.session(request)
    if secret is not None and session is not None:
        await end_session(gateway.bus, session, secret)


def _counted(error: Exception) -> Problem:
    problem = problem_of(error)
    LOGINS.labels(problem.reason).inc()
    log.info("a login ended: %s (%s)", problem.reason, problem.detail)
    return problem
