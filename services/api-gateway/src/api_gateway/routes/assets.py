"""The files that the pages load."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from api_gateway.panel.assets import ASSETS
from api_gateway.problems import Problem

router = APIRouter(include_in_schema=False)

_FOR_EVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}


@router.get("/assets/{name}")
async def get_asset(name: str) -> Response:
    """One of the files."""
    asset = ASSETS.get(name)
    if asset is None:
        raise Problem(HTTPStatus.NOT_FOUND, "not_found", "there is no such file")
    return Response(asset.content, media_type=asset.media_type, headers=_FOR_EVER)


@router.get("/favicon.ico")
async def favicon() -> Response:
    """What browsers ask for unasked."""
    icon = ASSETS["icon.svg"]
    return Response(icon.content, media_type=icon.media_type, headers=_FOR_EVER)
