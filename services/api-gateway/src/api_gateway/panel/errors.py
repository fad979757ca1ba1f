"""A problem as a page, for browsers that ask for pages; programs get the problem document."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from api_gateway.panel.templates import page
from api_gateway.panel.words import words_of
from api_gateway.problems import Problem
from api_gateway.security_headers import LOGIN_PAGE

_PAGES: Final = ("/user", "/oauth/", "/admin")


def error_page(request: Request, problem: Problem) -> Response | None:
    """The page of a problem; None for what is no page, and for clients that want none."""
    if not request.url.path.startswith(_PAGES) or "text/html" not in request.headers.get("accept", ""):
        return None
    headers = {**problem.headers, "Content-Security-Policy": LOGIN_PAGE}
    words = words_of(problem.reason, problem.detail)
    return page("error.html", problem.status.value, headers, problem=problem, words=words)
