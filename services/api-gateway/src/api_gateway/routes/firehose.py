"""What operators may do about the firehose: see how far it is, ask for other days, pause and resume its history."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Depends

from api_gateway.auth.operator import operator
from api_gateway.firehose_status import FirehoseStatus, ask_anew, firehose_status, set_paused
from api_gateway.gateway import GatewayDep
from api_gateway.problems import documented
from api_gateway.routes.bodies import FirehoseBackfill

_ALWAYS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)

router = APIRouter(
    prefix="/api/admin/firehose",
    tags=["operator"],
    dependencies=[Depends(operator)],
    responses=documented(*_ALWAYS),
)


@router.get("")
async def get_firehose(gateway: GatewayDep) -> FirehoseStatus:
    """The plan, the live tails, how far replay and crawl are, with rates and the time left, and the gaps."""
    return await firehose_status(gateway.bus)


@router.post("/backfill", status_code=HTTPStatus.ACCEPTED)
async def request_history(body: FirehoseBackfill, gateway: GatewayDep) -> FirehoseStatus:
    """Begin everybody's history again with other days. It stays so until `BACKFILL_DAYS` is changed."""
    return await ask_anew(gateway.bus, body.days)


@router.post("/pause", responses=documented(HTTPStatus.CONFLICT))
async def pause_history(gateway: GatewayDep) -> FirehoseStatus:
    """Let replay, crawl and the closing of gaps rest; the live tail goes on. 409 before the first start."""
    return await set_paused(gateway.bus, paused=True)


@router.post("/resume", responses=documented(HTTPStatus.CONFLICT))
async def resume_history(gateway: GatewayDep) -> FirehoseStatus:
    """Go on where it was paused. 409 before the first start."""
    return await set_paused(gateway.bus, paused=False)
