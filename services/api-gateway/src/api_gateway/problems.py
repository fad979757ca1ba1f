"""What the gateway says when it does not do what was asked: problem documents (RFC 9457).

``type`` is about:blank, so ``title`` is the phrase of the HTTP status; ``reason`` is what a program switches on, and
``detail`` what a person reads. No document holds a stack trace, a secret or more of the input than its names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import nats.errors
import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api_gateway.oauth.errors import OAuthError, OAuthReason
from headwater.errors import InvalidInputError, InvariantError, Reason, TransientError

log = logging.getLogger("api_gateway")

MEDIA_TYPE = "application/problem+json"
BUS_RETRY_SECONDS = 2
_UNAVAILABLE = "unavailable"
_NOT_FOUND = frozenset({Reason.UNRESOLVABLE, Reason.NOT_FOUND, Reason.ACCOUNT_DELETED})
_MAX_ERRORS = 10
_EXAMPLES: Final = {
    HTTPStatus.BAD_REQUEST: ("invalid_input", "the body is not what it says it is"),
    HTTPStatus.UNAUTHORIZED: ("token_expired", "the token has expired"),
    HTTPStatus.FORBIDDEN: ("opted_out", "the account does not want to be indexed"),
    HTTPStatus.NOT_FOUND: ("no_such_job", "there is no such job"),
    HTTPStatus.CONFLICT: ("job_running", "a backfill of this account is running already"),
    HTTPStatus.UNPROCESSABLE_ENTITY: ("invalid_input", "body.days: Input should be greater than or equal to 0"),
    HTTPStatus.TOO_MANY_REQUESTS: ("cooldown", "the last backfill was not long ago"),
    HTTPStatus.SERVICE_UNAVAILABLE: (_UNAVAILABLE, "the message bus does not answer"),
}


class ProblemDocument(BaseModel):
    """A problem document (RFC 9457). Which of the last fields are there depends on the reason."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str = Field(description="the phrase of the HTTP status")
    status: int
    detail: str = Field(description="for people")
    reason: str = Field(description="for programs; one word that stays as it is")
    job_id: str | None = Field(None, description="the job that this is about")
    errors: list[dict[str, Any]] | None = Field(None, description="what is wrong with the input, field by field")


class Problem(Exception):  # noqa: N818 (the RFC's word)
    """Raised anywhere below a route: ends the request with a problem document.

    ``extensions`` become fields of the document; ``retry_after`` is in seconds.
    """

    def __init__(
        self,
        status: HTTPStatus,
        reason: str,
        detail: str,
        *,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.extensions = dict(extensions or {})
        self.headers = dict(headers or {})
        if retry_after is not None:
            # Rounded up: who comes back at the second named must not be early.
            self.headers["Retry-After"] = str(max(1, int(-(-retry_after // 1))))

    def with_headers(self, headers: Mapping[str, str]) -> Problem:
        """The same problem with further headers."""
        self.headers.update(headers)
        return self

    def response(self) -> Response:
        """The document as an HTTP response."""
        document = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            "reason": self.reason,
            **self.extensions,
        }
        return Response(orjson.dumps(document), self.status.value, self.headers, MEDIA_TYPE)


def unauthorized(reason: str, detail: str) -> Problem:
    """401, with the challenge that RFC 9110 asks for."""
    return Problem(HTTPStatus.UNAUTHORIZED, reason, detail, headers={"WWW-Authenticate": "Bearer"})


def unavailable(detail: str, *, retry_after: float | None = None, job_id: str | None = None) -> Problem:
    """503: something that is needed is away, nothing was done."""
    seconds = BUS_RETRY_SECONDS if retry_after is None else retry_after
    named = {} if job_id is None else {"job_id": job_id}
    status = HTTPStatus.SERVICE_UNAVAILABLE
    return Problem(status, _UNAVAILABLE, detail, retry_after=seconds, extensions=named)


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route for OpenAPI: a problem document for each status."""
    # Not as the response's model: FastAPI would say application/json.
    schema = ProblemDocument.model_json_schema()
    return {
        status.value: {
            "description": status.phrase,
            "content": {MEDIA_TYPE: {"schema": schema, "example": _example(status)}},
        }
        for status in statuses
    }


def reason_of(status: HTTPStatus) -> str:
    """The reason where there is no better one than the status's phrase."""
    return status.phrase.lower().replace(" ", "_")


def _example(status: HTTPStatus) -> dict[str, object]:
    reason, detail = _EXAMPLES.get(status, (reason_of(status), status.description))
    return {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, "reason": reason}


EXPECTED = (Problem, OAuthError, InvalidInputError, TransientError, nats.errors.Error)
"""What a route may raise: nothing of it is a defect."""

_OF_OAUTH = {
    OAuthReason.NO_OAUTH: HTTPStatus.UNPROCESSABLE_ENTITY,
    OAuthReason.LOGIN_REFUSED: HTTPStatus.BAD_GATEWAY,
    OAuthReason.ISSUER_MISMATCH: HTTPStatus.FORBIDDEN,
    OAuthReason.ACCOUNT_MISMATCH: HTTPStatus.FORBIDDEN,
}

Page = Callable[[Request, "Problem"], Response | None]
"""A problem as a page for the browser that asked; None where no page was asked for."""


def install(app: FastAPI, page: Page) -> None:
    """Make every error that a route can raise a problem document, or a page where a browser wants one."""
    app.state.problem_page = page
    for expected in EXPECTED:
        app.add_exception_handler(expected, _of_expected)
    app.add_exception_handler(RequestValidationError, _of_bad_request)
    app.add_exception_handler(HTTPException, _of_http_exception)
    app.add_exception_handler(InvariantError, _of_defect)
    app.add_exception_handler(Exception, _of_defect)


def problem_of(error: Exception) -> Problem:
    """What is said of an error that a route may raise: the error itself, where it is a problem."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, OAuthError):
        return Problem(_OF_OAUTH[error.reason], error.reason.value, error.detail)
    if isinstance(error, InvalidInputError):
        status = HTTPStatus.NOT_FOUND if error.reason in _NOT_FOUND else HTTPStatus.UNPROCESSABLE_ENTITY
        return Problem(status, error.reason.value, error.detail or error.reason.value)
    if isinstance(error, TransientError):
        return unavailable(error.detail, retry_after=error.retry_after)
    log.warning("the bus did not answer: %s", error)
    return unavailable("the message bus does not answer")


async def _of_expected(request: Request, error: Exception) -> Response:
    return _answer(request, problem_of(error))


def _answer(request: Request, problem: Problem) -> Response:
    if problem.reason == _UNAVAILABLE:
        # Who asked knows that something is away; so does the operator then, and what it is.
        log.warning("503 for %s %s: %s", request.method, request.url.path, problem.detail)
    page: Page = request.app.state.problem_page
    return page(request, problem) or problem.response()


async def _of_bad_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [
        {"field": ".".join(str(part) for part in item["loc"]), "problem": item["msg"], "kind": item["type"]}
        for item in error.errors()[:_MAX_ERRORS]
    ]
    said = "; ".join(f"{item['field']}: {item['problem']}" for item in found)
    return _answer(
        request, Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input", said, extensions={"errors": found})
    )


async def _of_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.BAD_REQUEST:
        # FastAPI's word for a body that no JSON parser can read.
        return _answer(request, Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input", "the body is not JSON"))
    said = status.description or status.phrase
    return _answer(request, Problem(status, reason_of(status), said, headers=error.headers))


async def _of_defect(request: Request, error: Exception) -> Response:
    log.error("a request met a defect", exc_info=error)
    return _answer(request, Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "the log says what happened"))
