"""Forms as browsers send them (application/x-www-form-urlencoded), bounded by ``BoundedBody``."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from api_gateway.problems import Problem

_MAX_FIELDS: Final = 20


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; the last one of a name counts. Raises Problem 422."""
    body = await request.body()
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input", "the body is not a form") from None
