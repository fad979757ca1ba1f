"""An operator hands in a CAR, such as the export that an app offers its user."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from api_gateway.acceptance import new_request
from api_gateway.auth.operator import operator
from api_gateway.car_upload import receive_car, spool_file, store_car, too_large
from api_gateway.cooldown import job_running
from api_gateway.gateway import Gateway, GatewayDep
from api_gateway.problems import Problem, documented
from api_gateway.queue import waiting
from api_gateway.routes.admin import accept
from api_gateway.routes.bodies import Accepted
from headwater.bus.jobs import MAX_DAYS, BackfillRequest, new_job_id
from headwater.bus.subjects import RequestLane
from headwater.clock import now_us
from headwater.keys import parse_did_key
from headwater.syntax import parse_did

PATH = "/api/admin/import"
_CAR = {"application/vnd.ipld.car": {"schema": {"type": "string", "format": "binary"}}}

router = APIRouter(tags=["operator"], dependencies=[Depends(operator)])


@router.post(
    PATH,
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
    openapi_extra={"requestBody": {"required": True, "content": _CAR}},
)
async def import_car(
    request: Request,
    gateway: GatewayDep,
    did: Annotated[str, Query(description="whose repo it is", examples=["did:plc:ewvi7nxzyoun6zhxrhs64oiz"])],
    did_key: Annotated[str | None, Query(description="verify against this did:key, not the account's")] = None,
    days: Annotated[int, Query(ge=0, le=MAX_DAYS, description="how many days back; 0 is all time")] = 0,
) -> Accepted:
    """Import a CAR: the request's body. It is verified like one from a PDS. 409 names the job that runs already."""
    parse_did(did)
    if did_key is not None:
        parse_did_key(did_key)
    await _check_can_come(request, gateway, did)
    job_id = new_job_id(now_us())
    with spool_file(gateway.settings.headwater_home) as file:
        await receive_car(request.stream(), file, gateway.settings.headwater_car_max_bytes)
        await store_car(gateway.bus, job_id, file)
    asked = new_request(
        did, days, actor=did, requested_by="operator", job_id=job_id, car_object=job_id, did_key=did_key
    )
    return await _accept_stored(gateway, asked)


async def _check_can_come(request: Request, gateway: Gateway, did: str) -> None:
    """Refuse before the body is read what would be refused after it."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > gateway.settings.headwater_car_max_bytes:
        raise too_large(gateway.settings.headwater_car_max_bytes)
    running = await waiting(gateway.bus, RequestLane.USER, did)
    if running is not None:
        raise job_running(running.request.job_id)


async def _accept_stored(gateway: Gateway, asked: BackfillRequest) -> Accepted:
    try:
        return await accept(gateway, asked)
    except Problem as problem:
        # Where nobody knows whether the request is in, the CAR stays until that is clear (``abandoned_cars``).
        if problem.status is HTTPStatus.CONFLICT:
            await gateway.bus.imports.delete(asked.job_id)
        raise
