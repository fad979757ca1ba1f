"""An operator's login in a browser: the token typed once, a session's cookie from then on."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api_gateway.gateway import Gateway, GatewayDep
from api_gateway.metrics import LOGINS
from api_gateway.panel.admin_view import problem_words
from api_gateway.panel.templates import page
from api_gateway.problems import Problem, unauthorized
from api_gateway.routes.forms import form_of

log = logging.getLogger("api_gateway.operator")

router = APIRouter(include_in_schema=False)

HOME = "/admin"


def operator_login_page(problem: Problem | None = None) -> Response:
    """The page that asks for the token, after a failed try with what went wrong."""
    status = HTTPStatus.OK if problem is None else problem.status
    headers = None if problem is None else problem.headers
    words = None if problem is None else problem_words(problem)
    return page("admin/login.html", status, headers, problem=words)


async def _let_in(request: Request, gateway: GatewayDep) -> None:
    """A dependency: an operator's browser asks, from our own pages if it changes something."""
    if await gateway.operator_browsers.session(request) is None:
        # htmx puts fragments into the page; without a session the whole page has to change.
        raise unauthorized("no_credentials", "log in first").with_headers({"HX-Redirect": HOME})
    gateway.operator_browsers.check_own_page(request)


LetIn = Depends(_let_in)


@router.post("/admin/login")
async def log_in(request: Request, gateway: GatewayDep) -> Response:
    """Begin a session for whoever knows the token."""
    gateway.operator_browsers.check_own_page(request)
    address = request.client.host if request.client else ""
    try:
        gateway.token_limits.check(address)
        _check(gateway, (await form_of(request)).get("token", "").strip())
    except Problem as problem:
        LOGINS.labels(problem.reason).inc()
        log.warning("an operator's login from %s failed: %s", address, problem.reason)
        return operator_login_page(problem)
    response = RedirectResponse(HOME, HTTPStatus.SEE_OTHER)
    await gateway.operator_browsers.begin(response)
    LOGINS.labels("operator_logged_in").inc()
    log.info("an operator logged in from %s", address)
    return response


def _check(gateway: Gateway, token: str) -> None:
    if not gateway.operator.matches(token):
        raise Problem(HTTPStatus.UNAUTHORIZED, "not_an_operator", "this is not the operators' token")


@router.post("/admin/logout")
async def log_out(request: Request, gateway: GatewayDep) -> Response:
    """End this browser's session."""
    gateway.operator_browsers.check_own_page(request)
    response = RedirectResponse(HOME, HTTPStatus.SEE_OTHER)
    await gateway.operator_browsers.end(request, response)
    return response
