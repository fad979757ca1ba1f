"""A problem as a page, for browsers that ask for pages; programs get the problem document."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from api_gateway.panel.admin_view import problem_words
from api_gateway.panel.templates import page
from api_gateway.panel.words import words_of
from api_gateway.problems import Problem
from api_gateway.security_headers import LOGIN_PAGE

_OPERATORS: Final = "/admin"
_PAGES: Final = ("/user", "/oauth/", _OPERATORS)


def error_page(request: Request, problem: Problem) -> Response | None:
    """The page of a problem; None for what is no page, and for clients that want none."""
    path, asked = request.url.path, request.headers
    wanted = "text/html" in asked.get("accept", "") or "hx-request" in asked
    if not path.startswith(_PAGES) or not wanted:
        return None
    if path.startswith(_OPERATORS):
        return _operators_page(request, problem)
    headers = {**problem.headers, "Content-Security-Policy": LOGIN_PAGE}
    words = words_of(problem.reason, problem.detail)
    return page("error.html", problem.status.value, headers, problem=problem, words=words)


def _operators_page(request: Request, problem: Problem) -> Response:
    """The same for operators: the login where there is no session, else a page that looks again by itself."""
    if problem.status is HTTPStatus.UNAUTHORIZED:
        return page("admin/login.html", problem.status, problem.headers, problem=problem_words(problem))
    path = request.url.path if request.method == "GET" else "/admin"
    query = f"?{request.url.query}" if request.url.query and request.method == "GET" else ""
    return page(
        "admin/error.html",
        problem.status,
        problem.headers,
        title=problem.status.phrase,
        here="",
        said=None,
        problem=None,
        words=problem_words(problem),
        path=f"{path}{query}",
        again=problem.status is HTTPStatus.SERVICE_UNAVAILABLE,
    )
