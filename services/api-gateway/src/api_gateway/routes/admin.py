"""What operators may do: any account's backfill, all jobs, the switch of repo-backfill, the state of the stack."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sse_starlette import EventSourceResponse

from api_gateway import jobs, pause
from api_gateway.acceptance import new_request
from api_gateway.auth.operator import operator
from api_gateway.cancellation import cancel
from api_gateway.cooldown import job_running
from api_gateway.follow import event_stream
from api_gateway.gateway import Gateway, GatewayDep
from api_gateway.hosts_status import HostList, host_list
from api_gateway.metrics import VERDICTS
from api_gateway.problems import Problem, documented
from api_gateway.routes.bodies import Accepted, JobId, Jobs, OperatorBackfill
from api_gateway.routes.user import no_such_job
from api_gateway.stack_status import StackStatus, stack_status
from headwater.bus.jobs import BackfillRequest, JobState, JobStatus

_ALWAYS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_RETRIED = (JobState.FAILED, JobState.CANCELLED)

router = APIRouter(
    prefix="/api/admin", tags=["operator"], dependencies=[Depends(operator)], responses=documented(*_ALWAYS)
)


@router.post(
    "/backfill",
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def request_backfill(body: OperatorBackfill, gateway: GatewayDep) -> Accepted:
    """Ask for the backfill of an account, by DID or handle. No cooldown; 409 names the job that runs already."""
    identity = await gateway.resolver.resolve_actor(body.actor)
    return await accept(gateway, new_request(identity.did, body.days, actor=body.actor, requested_by="operator"))


async def accept(gateway: Gateway, request: BackfillRequest) -> Accepted:
    """Queue an operator's request. Raises Problem 409, 503."""
    verdict = await gateway.acceptance.accept(request)
    VERDICTS.labels("operator", "accepted" if verdict.accepted else "job_running").inc()
    if not verdict.accepted:
        raise job_running(verdict.job_id)
    return Accepted.of(verdict.job_id, request.days)


@router.get("/jobs")
async def list_jobs(
    gateway: GatewayDep,
    state: JobState | None = None,
    before: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Jobs:
    """The jobs of the last 30 days, newest first; of very many the newest 200,000."""
    found, following = await gateway.job_index.page(state=state, before=before, limit=limit)
    return Jobs(jobs=found, next=following)


async def _job(job_id: str, gateway: Gateway) -> JobStatus:
    status = await jobs.find(gateway.bus, job_id)
    if status is None:
        raise no_such_job()
    return status


@router.get("/jobs/{job_id}", responses=documented(HTTPStatus.NOT_FOUND))
async def get_job(job_id: JobId, gateway: GatewayDep) -> JobStatus:
    """A job."""
    return await _job(job_id, gateway)


@router.get(
    "/jobs/{job_id}/events",
    response_class=EventSourceResponse,
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS),
)
async def follow_job(job_id: JobId, gateway: GatewayDep) -> EventSourceResponse:
    """Follow a job: server-sent events whose data is the job as JSON, until it has ended."""
    job = await _job(job_id, gateway)
    return event_stream(gateway.bus, gateway.followers, f"operator {job.did}", job.did, job_id)


@router.post(
    "/jobs/{job_id}/cancel",
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def cancel_job(job_id: JobId, gateway: GatewayDep) -> JobStatus:
    """Ask a job to stop. What is committed stays. 409 when it has ended."""
    job = await _job(job_id, gateway)
    return await cancel(gateway.bus, job.did, job_id) or job


@router.post(
    "/jobs/{job_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def retry_job(job_id: JobId, gateway: GatewayDep) -> Accepted:
    """Ask again for what a failed or cancelled job was to bring, as a new job. 409 for any other job."""
    job = await _job(job_id, gateway)
    if job.state not in _RETRIED:
        raise Problem(HTTPStatus.CONFLICT, "job_not_failed", f"the job is {job.state}", extensions={"job_id": job_id})
    request = await jobs.find_request(gateway.bus, job.did, job_id)
    if request is not None and request.car_object is not None:
        raise Problem(
            HTTPStatus.CONFLICT,
            "car_is_gone",
            "the job's CAR was not kept; import it again",
            extensions={"job_id": job_id},
        )
    return await accept(gateway, new_request(job.did, job.days, actor=job.actor, requested_by="operator"))


@router.post("/repo-backfill/pause", status_code=HTTPStatus.NO_CONTENT)
async def pause_repo_backfill(gateway: GatewayDep) -> None:
    """Let new requests wait; jobs that run go on."""
    await pause.pause(gateway.bus)


@router.post("/repo-backfill/resume", status_code=HTTPStatus.NO_CONTENT)
async def resume_repo_backfill(gateway: GatewayDep) -> None:
    """Take requests again."""
    await pause.resume(gateway.bus)


@router.get("/hosts")
async def get_hosts(gateway: GatewayDep) -> HostList:
    """The hosts (PDSes) that are asked for repos: their limits, who waits, and what went wrong."""
    return await host_list(gateway.bus)


@router.get("/status")
async def get_status(gateway: GatewayDep) -> StackStatus:
    """Workers, streams and lanes with lag and rates, jobs by state, cursors."""
    return await stack_status(gateway.bus, gateway.readiness, gateway.job_index, gateway.rates)
