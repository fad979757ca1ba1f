"""What users may do with their own account's data. Each route names the ``lxm`` that its token needs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from sse_starlette import EventSourceResponse

from api_gateway import jobs
from api_gateway.auth.account import Account, account_for
from api_gateway.auth.methods import Method
from api_gateway.cancellation import cancel
from api_gateway.follow import event_stream
from api_gateway.gateway import GatewayDep
from api_gateway.indexer_client import account_settings, account_stats
from api_gateway.problems import Problem, documented
from api_gateway.requests import ask_for_backfill
from api_gateway.routes import examples
from api_gateway.routes.bodies import Accepted, JobId, Jobs, UserBackfill
from api_gateway.routes.examples import answers
from headwater.bus.jobs import JobState, JobStatus
from headwater.bus.queries import AccountSettings, AccountStats

_COUNTING_SECONDS = 3.0
ALWAYS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)

router = APIRouter(prefix="/api/user", tags=["user"], responses=documented(*ALWAYS))


def lxm(method: Method) -> dict[str, Any]:
    """What OpenAPI says of the method that a route's token needs."""
    return {"x-lxm": method.value}


def no_such_job() -> Problem:
    """404, for another account's job as for none."""
    return Problem(HTTPStatus.NOT_FOUND, "no_such_job", "there is no such job")


@router.post(
    "/backfill",
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)
    | answers(examples.ACCEPTED, HTTPStatus.ACCEPTED),
    openapi_extra=lxm(Method.REQUEST_BACKFILL),
)
async def request_backfill(
    body: UserBackfill,
    gateway: GatewayDep,
    account: Annotated[Account, Depends(account_for(Method.REQUEST_BACKFILL))],
) -> Accepted:
    """Ask for a backfill of your account. 409 names the job that runs already, 429 says when to ask again."""
    return Accepted.of(await ask_for_backfill(gateway, account.did, body.days), body.days)


@router.get("/backfill", responses=answers(examples.JOBS), openapi_extra=lxm(Method.LIST_BACKFILLS))
async def list_backfills(
    gateway: GatewayDep,
    account: Annotated[Account, Depends(account_for(Method.LIST_BACKFILLS))],
    state: JobState | None = None,
    before: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Jobs:
    """Your jobs of the last 30 days, newest first."""
    found, following = jobs.page(await jobs.jobs_of(gateway.bus, account.did), state=state, before=before, limit=limit)
    return Jobs(jobs=found, next=following)


@router.get(
    "/backfill/{job_id}",
    responses=documented(HTTPStatus.NOT_FOUND) | answers(examples.JOB),
    openapi_extra=lxm(Method.GET_BACKFILL),
)
async def get_backfill(
    job_id: JobId, gateway: GatewayDep, account: Annotated[Account, Depends(account_for(Method.GET_BACKFILL))]
) -> JobStatus:
    """One of your jobs."""
    status = await jobs.status_of(gateway.bus, account.did, job_id)
    if status is None:
        raise no_such_job()
    return status


@router.get(
    "/backfill/{job_id}/events",
    response_class=EventSourceResponse,
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS),
    openapi_extra=lxm(Method.GET_BACKFILL),
)
async def follow_backfill(
    job_id: JobId, gateway: GatewayDep, account: Annotated[Account, Depends(account_for(Method.GET_BACKFILL))]
) -> EventSourceResponse:
    """Follow one of your jobs: server-sent events whose data is the job as JSON, until it has ended."""
    if await jobs.status_of(gateway.bus, account.did, job_id) is None:
        raise no_such_job()
    return event_stream(gateway.bus, gateway.followers, account.did, account.did, job_id)


@router.delete(
    "/backfill/{job_id}",
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT) | answers(examples.JOB, HTTPStatus.ACCEPTED),
    openapi_extra=lxm(Method.CANCEL_BACKFILL),
)
async def cancel_backfill(
    job_id: JobId, gateway: GatewayDep, account: Annotated[Account, Depends(account_for(Method.CANCEL_BACKFILL))]
) -> JobStatus:
    """Ask one of your jobs to stop. What is committed stays. 409 when it has ended."""
    status = await cancel(gateway.bus, account.did, job_id)
    if status is None:
        raise no_such_job()
    return status


@router.get("/stats", responses=answers(examples.STATS), openapi_extra=lxm(Method.GET_STATS))
async def get_stats(
    gateway: GatewayDep, account: Annotated[Account, Depends(account_for(Method.GET_STATS))]
) -> AccountStats:
    """What is held of your account, by collection. Counting a very large account takes a while: 503 ``counting`` says
    when to ask again, and figures that took long stay for a minute (``counted_at_us``)."""
    stats = await account_stats(gateway.bus, account.did)
    if stats.counted_at_us is None and stats.counting:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, "counting", "your records are being counted", retry_after=_COUNTING_SECONDS
        )
    return stats


@router.get("/settings", responses=answers(examples.SETTINGS), openapi_extra=lxm(Method.GET_SETTINGS))
async def get_settings(
    gateway: GatewayDep, account: Annotated[Account, Depends(account_for(Method.GET_SETTINGS))]
) -> AccountSettings:
    """Your settings. ``last_backfill_at`` moves when a backfill is done, never when one fails."""
    return await account_settings(gateway.bus, account.did)
