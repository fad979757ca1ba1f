"""A user's page: what the API's routes do, as forms and HTML fragments, for the session of the browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from sse_starlette import EventSourceResponse
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api_gateway import jobs
from api_gateway.auth.sessions import Session, count_sessions
from api_gateway.cancellation import cancel
from api_gateway.follow import changes, stream_of
from api_gateway.gateway import Gateway, GatewayDep
from api_gateway.indexer_client import PATIENCE_MS, account_settings, account_stats
from api_gateway.panel.figures_view import chart, sync_words
from api_gateway.panel.job_view import JobView, view
from api_gateway.panel.templates import page, render
from api_gateway.panel.words import words_of
from api_gateway.problems import Problem, unauthorized
from api_gateway.requests import ask_for_backfill
from api_gateway.routes.forms import form_of
from api_gateway.routes.login import login_page
from api_gateway.routes.user import no_such_job
from headwater.bus.jobs import MAX_DAYS, JobStatus
from headwater.clock import now_us

router = APIRouter(include_in_schema=False)

CHOICES: Final = ((7, "7 days"), (30, "30 days"), (365, "1 year"), (0, "All time"))
_HISTORY: Final = 20
_SOON_MS: Final = 1_000
"""The page does not wait longer for a count of many records; its card asks again by itself."""


async def _session(request: Request, gateway: GatewayDep) -> Session:
    """A dependency: the session of the browser, whose request comes from our own pages if it changes something."""
    session = await gateway.browsers.session(request)
    if session is None:
        # htmx puts fragments into the page; without a session the whole page has to change.
        raise unauthorized("no_credentials", "there is no session").with_headers({"HX-Redirect": "/user"})
    gateway.browsers.check_own_page(request)
    return session


SessionDep = Annotated[Session, Depends(_session)]


@router.get("/user")
async def get_panel(request: Request, gateway: GatewayDep) -> Response:
    """The user's page; the login's where nobody is logged in."""
    origin = gateway.site.origin(request)
    if request.url.hostname == "localhost" and origin.startswith("http://127."):
        # The login comes back to the address, where the cookies of the name are not known.
        return RedirectResponse(f"{origin}/user", HTTPStatus.SEE_OTHER)
    session = await gateway.browsers.session(request)
    return login_page() if session is None else await show_panel(gateway, session)


@router.get("/user/cards/backfill")
async def get_backfill_card(gateway: GatewayDep, session: SessionDep) -> HTMLResponse:
    """The first card, after a job has ended; the figures beside it are told to look again."""
    return _card(await _jobs(gateway, session), headers={"HX-Trigger": "backfill-ended"})


@router.get("/user/cards/stats")
async def get_stats_card(gateway: GatewayDep, session: SessionDep) -> HTMLResponse:
    """The second card; patient, as it is asked for when the rest of the page is there."""
    return page("_stats.html", **await _figures(gateway, session, PATIENCE_MS))


@router.post("/user/backfill")
async def start_backfill(request: Request, gateway: GatewayDep, session: SessionDep) -> Response:
    """Start a backfill."""
    try:
        await ask_for_backfill(gateway, session.did, days_of(await form_of(request)))
    except Problem as problem:
        return await _refused(request, gateway, session, problem)
    return await _changed(request, gateway, session)


@router.post("/user/backfill/{job_id}/cancel")
async def cancel_backfill(request: Request, job_id: str, gateway: GatewayDep, session: SessionDep) -> Response:
    """Ask a backfill to stop."""
    try:
        if await cancel(gateway.bus, session.did, job_id) is None:
            raise no_such_job()
    except Problem as problem:
        return await _refused(request, gateway, session, problem)
    return await _changed(request, gateway, session)


@router.get("/user/backfill/{job_id}/events")
async def follow_backfill(job_id: str, gateway: GatewayDep, session: SessionDep) -> EventSourceResponse:
    """A job's headline and bars as HTML fragments, whenever they change; ``ended`` is the last event."""
    if await jobs.status_of(gateway.bus, session.did, job_id) is None:
        raise no_such_job()

    async def events() -> AsyncIterator[dict[str, str]]:
        headline = ""
        async for text in changes(gateway.bus, session.did, job_id):
            current = view(JobStatus.model_validate_json(text), now_us())
            if current.headline != headline:
                headline = current.headline
                yield {"event": "state", "data": headline}
            yield {"event": "bars", "data": render("_bars.html", current=current)}
        yield {"event": "ended", "data": ""}

    return stream_of(events(), gateway.followers, session.did)


def days_of(form: dict[str, str]) -> int:
    """The days that a form asks for, 0 for all time. Raises Problem 422."""
    said = form.get("days", "")
    text = form.get("other", "") if said == "other" else said
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_DAYS)) and int(text) <= MAX_DAYS):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input", f"days go from 0 to {MAX_DAYS}")
    if said == "other" and int(text) == 0:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input", "enter at least one day")
    return int(text)


async def _jobs(gateway: Gateway, session: Session) -> dict[str, Any]:
    now = now_us()
    known = [view(job, now) for job in await jobs.jobs_of(gateway.bus, session.did)]
    running: JobView | None = next((job for job in known if job.running), None)
    ended = [job for job in known if not job.running]
    last = ended[0] if ended and running is None else None
    return {"current": running, "last": last, "history": ended[:_HISTORY], "choices": CHOICES}


async def _figures(gateway: Gateway, session: Session, patience_ms: int = _SOON_MS) -> dict[str, Any]:
    """What the indexer says, nothing where it does not answer: the rest of the page is useful without."""
    try:
        stats = await account_stats(gateway.bus, session.did, patience_ms)
        settings = await account_settings(gateway.bus, session.did)
    except Problem:
        return {"stats": None, "settings": None, "chart": None, "sync": None}
    return {
        "stats": stats,
        "settings": settings,
        "chart": chart(stats.months),
        "sync": sync_words(settings, now_us()),
    }


async def show_panel(
    gateway: Gateway, session: Session, problem: Problem | None = None, *, privacy_problem: Problem | None = None
) -> HTMLResponse:
    """The whole page, with what went wrong at its first card or at its privacy card."""
    wrong = problem or privacy_problem
    return page(
        "panel.html",
        HTTPStatus.OK if wrong is None else wrong.status,
        None if wrong is None else wrong.headers,
        session=session,
        browsers=await count_sessions(gateway.bus, session.did),
        problem_words=None if problem is None else words_of(problem.reason, problem.detail),
        privacy_words=None if privacy_problem is None else words_of(privacy_problem.reason, privacy_problem.detail),
        focus=False,
        **await _jobs(gateway, session),
        **await _figures(gateway, session),
    )


def _card(
    shown: dict[str, Any],
    *,
    problem: Problem | None = None,
    focus: bool = False,
    headers: dict[str, str] | None = None,
) -> HTMLResponse:
    words = None if problem is None else words_of(problem.reason, problem.detail)
    status = HTTPStatus.OK if problem is None else problem.status
    said = {**(headers or {}), **({} if problem is None else problem.headers)}
    return page("_backfill.html", status, said, problem_words=words, focus=focus, **shown)


async def _refused(request: Request, gateway: Gateway, session: Session, problem: Problem) -> Response:
    """The page, or where htmx asks its first card, with what went wrong."""
    if "hx-request" in request.headers:
        return _card(await _jobs(gateway, session), problem=problem, focus=True)
    return await show_panel(gateway, session, problem)


async def _changed(request: Request, gateway: Gateway, session: Session) -> Response:
    """The first card where htmx asks; a way back to the page where a form was sent."""
    if "hx-request" in request.headers:
        return _card(await _jobs(gateway, session), focus=True)
    return RedirectResponse("/user", HTTPStatus.SEE_OTHER)
