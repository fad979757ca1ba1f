"""What operators may do about what could not be used: look at it, put it on its way again, drop it."""

from __future__ import annotations

from base64 import b64decode
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from api_gateway.auth.operator import operator
from api_gateway.dead_letters.letter import DeadLetterContent, DeadLetterList
from api_gateway.dead_letters.retry import Retried, no_such_letter, retry
from api_gateway.gateway import GatewayDep
from api_gateway.problems import documented

_ALWAYS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_WORD = r"^[a-z_]{1,40}$"
_LARGEST = (1 << 53) - 1

LetterId = Annotated[int, Path(ge=1, le=_LARGEST, description="the letter's id", examples=[42])]
Kind = Annotated[str, Query(pattern=_WORD, description="record, frame or message", examples=["record"])]
ReasonWord = Annotated[str, Query(pattern=_WORD, description="why it was refused", examples=["record_float"])]

router = APIRouter(
    prefix="/api/admin/dead-letters",
    tags=["operator"],
    dependencies=[Depends(operator)],
    responses=documented(*_ALWAYS),
)


class Dropped(BaseModel):
    """How many letters were dropped."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"dropped": 17}]})

    dropped: int


@router.get("")
async def list_dead_letters(
    gateway: GatewayDep,
    kind: Kind | None = None,
    reason: ReasonWord | None = None,
    before: Annotated[int | None, Query(ge=1, le=_LARGEST, description="only letters older than this one")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DeadLetterList:
    """What could not be used in the last 30 days, newest first, without its bytes; and how much there is of what."""
    return await gateway.dead_letters.page(kind=kind, reason=reason, before=before, limit=limit)


@router.delete("")
async def drop_dead_letters(
    gateway: GatewayDep,
    kind: Kind,
    reason: ReasonWord,
    up_to: Annotated[int, Query(ge=1, le=_LARGEST, description="the `last_id` of the list that was looked at")],
) -> Dropped:
    """Drop all letters of a kind and reason up to one; those that came later stay."""
    return Dropped(dropped=await gateway.dead_letters.drop_all(kind, reason, up_to))


@router.get("/{letter_id}", responses=documented(HTTPStatus.NOT_FOUND))
async def get_dead_letter(letter_id: LetterId, gateway: GatewayDep) -> DeadLetterContent:
    """A letter with its bytes, and with what they mean as far as that can be read."""
    letter = await gateway.dead_letters.find(letter_id)
    if letter is None:
        raise no_such_letter()
    return letter


@router.get(
    "/{letter_id}/bytes",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}, **documented(HTTPStatus.NOT_FOUND)},
)
async def get_bytes(letter_id: LetterId, gateway: GatewayDep) -> Response:
    """The bytes alone, as a file; empty where they were too large to be kept."""
    letter = await get_dead_letter(letter_id, gateway)
    headers = {"Content-Disposition": f'attachment; filename="dead-letter-{letter_id}.bin"'}
    return Response(b64decode(letter.bytes), media_type="application/octet-stream", headers=headers)


@router.post(
    "/{letter_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def retry_dead_letter(letter_id: LetterId, gateway: GatewayDep) -> Retried:
    """Put what a letter is about on its way again, and drop the letter.

    A message of the bus is published again; of a record or a frame the account's repo is fetched anew. 409 says why
    there is nothing to try, or names the job that has to end first.
    """
    return await retry(gateway.bus, gateway.dead_letters, letter_id)


@router.delete("/{letter_id}", status_code=HTTPStatus.NO_CONTENT, responses=documented(HTTPStatus.NOT_FOUND))
async def drop_dead_letter(letter_id: LetterId, gateway: GatewayDep) -> None:
    """Drop a letter."""
    if not await gateway.dead_letters.drop(letter_id):
        raise no_such_letter()
