"""What the buttons of the operator's pages do: the same as the routes of `/api/admin`, and then a page again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api_gateway import pause
from api_gateway.dead_letters.retry import no_such_letter, retry
from api_gateway.firehose_status import ask_anew, set_paused
from api_gateway.gateway import GatewayDep
from api_gateway.problems import EXPECTED, Problem, problem_of
from api_gateway.routes import admin
from api_gateway.routes.admin_login import LetIn
from api_gateway.routes.admin_pages import (
    is_word,
    letter_number,
    show_dead_letter,
    show_dead_letters,
    show_firehose,
    show_job,
    show_overview,
)
from api_gateway.routes.bodies import FirehoseBackfill, OperatorBackfill
from api_gateway.routes.forms import form_of

router = APIRouter(include_in_schema=False, dependencies=[LetIn])

T = TypeVar("T")
B = TypeVar("B", bound=BaseModel)

_SHOWN_ACTOR: Final = 200


@router.post("/admin/backfill")
async def ask_for_backfill(request: Request, gateway: GatewayDep) -> Response:
    """Queue the backfill of an account."""
    form = await form_of(request)
    actor, days = form.get("actor", "").strip(), form.get("days", "")
    try:
        accepted = await admin.request_backfill(_body(OperatorBackfill, actor=actor, days=_whole(days)), gateway)
    except EXPECTED as error:
        return await show_overview(gateway, problem=problem_of(error), actor=actor[:_SHOWN_ACTOR], days=days[:5])
    return _then(f"/admin/jobs/{accepted.job_id}", "queued")


@router.post("/admin/repo-backfill/pause")
async def pause_repo_backfill(gateway: GatewayDep) -> Response:
    """Let new requests wait."""
    await pause.pause(gateway.bus)
    return _then("/admin", "paused")


@router.post("/admin/repo-backfill/resume")
async def resume_repo_backfill(gateway: GatewayDep) -> Response:
    """Take requests again."""
    await pause.resume(gateway.bus)
    return _then("/admin", "resumed")


@router.post("/admin/jobs/{job_id}/cancel")
async def cancel_job(job_id: str, gateway: GatewayDep) -> Response:
    """Ask a job to stop."""
    return await _or_page(
        admin.cancel_job(job_id, gateway),
        lambda problem: show_job(gateway, job_id, problem=problem),
        lambda _: _then(f"/admin/jobs/{job_id}", "cancelled"),
    )


@router.post("/admin/jobs/{job_id}/retry")
async def retry_job(job_id: str, gateway: GatewayDep) -> Response:
    """Ask again for what a job was to bring."""
    return await _or_page(
        admin.retry_job(job_id, gateway),
        lambda problem: show_job(gateway, job_id, problem=problem),
        lambda accepted: _then(f"/admin/jobs/{accepted.job_id}", "retried"),
    )


@router.post("/admin/firehose/backfill")
async def ask_for_history(request: Request, gateway: GatewayDep) -> Response:
    """Begin everybody's history again with other days."""
    try:
        body = _body(FirehoseBackfill, days=_whole((await form_of(request)).get("days", "")))
    except Problem as problem:
        return await show_firehose(gateway, problem=problem)
    await ask_anew(gateway.bus, body.days)
    return _then("/admin/firehose", "history-asked")


@router.post("/admin/firehose/pause")
async def pause_history(gateway: GatewayDep) -> Response:
    """Let the history rest."""
    return await _set_history(gateway, paused=True)


@router.post("/admin/firehose/resume")
async def resume_history(gateway: GatewayDep) -> Response:
    """Let the history go on."""
    return await _set_history(gateway, paused=False)


async def _set_history(gateway: GatewayDep, *, paused: bool) -> Response:
    return await _or_page(
        set_paused(gateway.bus, paused=paused),
        lambda problem: show_firehose(gateway, problem=problem),
        lambda _: _then("/admin/firehose", "history-paused" if paused else "history-resumed"),
    )


@router.post("/admin/dead-letters/drop")
async def drop_letters(request: Request, gateway: GatewayDep) -> Response:
    """Drop all letters of a kind and reason that the page has counted, once that is confirmed."""
    form = await form_of(request)
    kind, reason = form.get("kind", ""), form.get("reason", "")
    if form.get("confirm") != "yes" or not is_word(kind) or not is_word(reason):
        said = "nothing was dropped: confirm it first"
        unsure = Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "not_confirmed", said)
        return await show_dead_letters(gateway, problem=unsure)
    await gateway.dead_letters.drop_all(kind, reason, letter_number(form.get("up_to", "")))
    return _then("/admin/dead-letters", "letters-dropped")


@router.post("/admin/dead-letters/{letter_id}/retry")
async def retry_letter(letter_id: str, gateway: GatewayDep) -> Response:
    """Put what a letter is about on its way again."""
    number = letter_number(letter_id)
    return await _or_page(
        retry(gateway.bus, gateway.dead_letters, number),
        lambda problem: show_dead_letter(gateway, number, problem),
        lambda done: (
            _then("/admin/dead-letters", "letter-sent")
            if done.job_id is None
            else _then(f"/admin/jobs/{done.job_id}", "letter-fetching")
        ),
    )


@router.post("/admin/dead-letters/{letter_id}/drop")
async def drop_letter(letter_id: str, gateway: GatewayDep) -> Response:
    """Drop a letter."""
    if not await gateway.dead_letters.drop(letter_number(letter_id)):
        raise no_such_letter()
    return _then("/admin/dead-letters", "letter-dropped")


def _then(path: str, said: str) -> Response:
    """A way back to a page, which says what has happened."""
    return RedirectResponse(f"{path}?said={said}", HTTPStatus.SEE_OTHER)


async def _or_page(
    work: Awaitable[T], refused: Callable[[Problem], Awaitable[Response]], done: Callable[[T], Response]
) -> Response:
    """What comes after the work; where it cannot be done the page that says why."""
    try:
        found = await work
    except Problem as problem:
        if problem.status is HTTPStatus.NOT_FOUND:
            raise
        return await refused(problem)
    return done(found)


def _body(kind: type[B], **fields: object) -> B:
    """A form's fields, held to what the API takes. Raises Problem 422."""
    try:
        return kind(**fields)
    except ValidationError as error:
        said = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input", said) from None


def _whole(text: str) -> int | str:
    """The whole number in a field; the text where it holds none, to be refused as such."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 6 else text
