"""The operator's pages: what `/api/admin` tells, for people. Each looks once, and its live part looks again by htmx."""

from __future__ import annotations

from base64 import b64decode
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from api_gateway import jobs
from api_gateway.dead_letters.retry import no_such_letter
from api_gateway.firehose_status import firehose_status
from api_gateway.gateway import Gateway, GatewayDep
from api_gateway.hosts_status import host_list
from api_gateway.panel import admin_view
from api_gateway.panel.job_view import view
from api_gateway.panel.templates import render
from api_gateway.problems import Problem
from api_gateway.routes.admin_login import LetIn, operator_login_page
from api_gateway.routes.user import no_such_job
from api_gateway.stack_status import stack_status
from headwater.bus.firehose import GapState
from headwater.bus.jobs import JobState
from headwater.clock import now_us

router = APIRouter(include_in_schema=False)

_PER_PAGE: Final = 50
_LETTER_ID_DIGITS: Final = 16
_SHOWN_BYTES: Final = 4096
_SHOWN_JSON: Final = 64 * 1024
_UNDER_WAY: Final = (JobState.QUEUED, JobState.RESOLVING, JobState.FETCHING, JobState.INDEXING)


@router.get("/admin")
async def get_overview(request: Request, gateway: GatewayDep, said: str = "") -> Response:
    """The stack at a glance; the login where nobody is logged in."""
    if await gateway.operator_browsers.session(request) is None:
        return operator_login_page()
    return await show_overview(gateway, said=said)


@router.get("/admin/jobs", dependencies=[LetIn])
async def get_jobs(gateway: GatewayDep, state: str = "", before: str = "") -> Response:
    """The jobs, newest first."""
    wanted = JobState(state) if state in set(JobState) else None
    found, following = await gateway.job_index.page(state=wanted, before=before or None, limit=_PER_PAGE)
    now = now_us()
    name = "" if wanted is None else wanted.value
    chosen = {"state": name} if name else {}
    return _shown(
        "jobs.html",
        "Jobs",
        "/admin/jobs",
        jobs=[view(job, now) for job in found],
        counts={one.value: number for one, number in (await gateway.job_index.counts()).items()},
        states=[one.value for one in JobState],
        state=name,
        first_page=not before,
        path=f"/admin/jobs?{urlencode(chosen)}",
        next=f"/admin/jobs?{urlencode({**chosen, 'before': following})}" if following else None,
    )


@router.get("/admin/jobs/{job_id}", dependencies=[LetIn])
async def get_job(job_id: str, gateway: GatewayDep, said: str = "") -> Response:
    """One job, with its parts as they lie on the bus."""
    return await show_job(gateway, job_id, said=said)


@router.get("/admin/hosts", dependencies=[LetIn])
async def get_hosts(gateway: GatewayDep) -> Response:
    """The hosts that are asked for repos."""
    return _shown("hosts.html", "Hosts", "/admin/hosts", found=await host_list(gateway.bus))


@router.get("/admin/firehose", dependencies=[LetIn])
async def get_firehose(gateway: GatewayDep, said: str = "") -> Response:
    """Everybody's history, the live tail, and the gaps."""
    return await show_firehose(gateway, said=said)


@router.get("/admin/dead-letters", dependencies=[LetIn])
async def get_dead_letters(
    gateway: GatewayDep, kind: str = "", reason: str = "", before: str = "", said: str = ""
) -> Response:
    """What could not be used, newest first."""
    return await show_dead_letters(gateway, kind=kind, reason=reason, before=before, said=said)


@router.get("/admin/dead-letters/{letter_id}", dependencies=[LetIn])
async def get_dead_letter(letter_id: str, gateway: GatewayDep) -> Response:
    """One letter, with its bytes."""
    return await show_dead_letter(gateway, letter_number(letter_id))


async def show_overview(
    gateway: Gateway, *, said: str = "", problem: Problem | None = None, actor: str = "", days: str = "0"
) -> Response:
    """The first page, after a form with what came of it."""
    status = await stack_status(gateway.bus, gateway.readiness, gateway.job_index, gateway.rates)
    lanes = admin_view.lane_sums(status.lanes, status.workers)
    letters = await gateway.dead_letters.page(limit=1)
    return _shown(
        "overview.html",
        "Overview",
        "/admin",
        said=said,
        problem=problem,
        status=status,
        lanes=lanes,
        rows=sum(lane.rows for lane in lanes),
        under_way=sum(status.jobs.get(state.value, 0) for state in _UNDER_WAY),
        letters=sum(one.letters for one in letters.counts),
        open_gaps=sum(gap.state is not GapState.CLOSED for gap in status.firehose.gaps),
        actor=actor,
        days=days,
    )


async def show_job(gateway: Gateway, job_id: str, *, said: str = "", problem: Problem | None = None) -> Response:
    """A job's page. Raises Problem 404."""
    job = await jobs.find(gateway.bus, job_id)
    if job is None:
        raise no_such_job()
    store = gateway.bus.jobs
    parts = {
        "request": await store.request(job.did, job_id),
        "cancel": await store.cancel(job.did, job_id),
        "fetch": await store.fetch(job.did, job_id),
        "index": await store.index(job.did, job_id),
    }
    written = [(name, part.model_dump_json(indent=2)) for name, part in parts.items() if part is not None]
    title = f"Job of {job.handle or job.actor}"
    return _shown(
        "job.html", title, "", said=said, problem=problem, job=job, current=view(job, now_us()), parts=written
    )


async def show_firehose(gateway: Gateway, *, said: str = "", problem: Problem | None = None) -> Response:
    """The firehose's page."""
    told = await firehose_status(gateway.bus)
    return _shown(
        "firehose.html",
        "Firehose",
        "/admin/firehose",
        said=said,
        problem=problem,
        told=told,
        open_gaps=[gap for gap in told.gaps if gap.state is not GapState.CLOSED],
        closed_gaps=[gap for gap in reversed(told.gaps) if gap.state is GapState.CLOSED],
    )


async def show_dead_letters(
    gateway: Gateway,
    *,
    kind: str = "",
    reason: str = "",
    before: str = "",
    said: str = "",
    problem: Problem | None = None,
) -> Response:
    """The list of letters. What nobody can have chosen on it is left out."""
    chosen = {name: word for name, word in (("kind", kind), ("reason", reason)) if is_word(word)}
    found = await gateway.dead_letters.page(**chosen, before=letter_number(before) if before else None, limit=_PER_PAGE)
    following = urlencode({**chosen, "before": found.next})
    return _shown(
        "dead_letters.html",
        "Dead letters",
        "/admin/dead-letters",
        said=said,
        problem=problem,
        found=found,
        kind=chosen.get("kind", ""),
        reason=chosen.get("reason", ""),
        next=f"/admin/dead-letters?{following}" if found.next is not None else None,
    )


async def show_dead_letter(gateway: Gateway, number: int, problem: Problem | None = None) -> Response:
    """A letter's page. Raises Problem 404."""
    letter = await gateway.dead_letters.find(number)
    if letter is None:
        raise no_such_letter()
    data = b64decode(letter.bytes)
    text = None
    if letter.format is not None:
        text = orjson.dumps(letter.value, option=orjson.OPT_INDENT_2).decode()
    return _shown(
        "dead_letter.html",
        f"Dead letter {number}",
        "",
        problem=problem,
        letter=letter,
        json=None if text is None else text[:_SHOWN_JSON] + ("\n…" if len(text) > _SHOWN_JSON else ""),
        dump=admin_view.hex_dump(data[:_SHOWN_BYTES]),
        more=len(data) > _SHOWN_BYTES,
        shown=_SHOWN_BYTES,
    )


def is_word(text: str) -> bool:
    """Whether the text can be a kind or a reason: it becomes a token of a subject."""
    return text.isascii() and text.replace("_", "").isalpha() and text.islower() and len(text) <= 40


def letter_number(text: str) -> int:
    """A letter's id. Raises Problem 404 for what can be none."""
    if not (text.isascii() and text.isdigit() and len(text) < _LETTER_ID_DIGITS and int(text)):
        raise no_such_letter()
    return int(text)


def _shown(
    template: str, title: str, here: str, *, said: str = "", problem: Problem | None = None, **values: Any
) -> Response:
    html = render(
        f"admin/{template}",
        title=title,
        here=here,
        now=now_us(),
        said=admin_view.said_words(said) if problem is None else None,
        problem=None if problem is None else admin_view.problem_words(problem),
        **values,
    )
    if problem is None:
        return HTMLResponse(html)
    return HTMLResponse(html, problem.status, problem.headers)
