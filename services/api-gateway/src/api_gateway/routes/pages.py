"""Who the gateway is, and where people find what."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse

from api_gateway.auth.service_token import SERVICE_FRAGMENT
from api_gateway.gateway import GatewayDep
from api_gateway.panel.reference import operations_of
from api_gateway.panel.templates import page

router = APIRouter(include_in_schema=False)


@router.get("/.well-known/did.json")
async def did_document(gateway: GatewayDep) -> JSONResponse:
    """The DID document that makes the gateway's did:web resolve (https://w3c-ccg.github.io/did-method-web/)."""
    did = gateway.settings.did
    host = unquote(did.removeprefix("did:web:"))
    scheme = "http" if host.partition(":")[0] == "localhost" else "https"
    document = {
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": did,
        "service": [{"id": SERVICE_FRAGMENT, "type": "HeadwaterGateway", "serviceEndpoint": f"{scheme}://{host}"}],
    }
    return JSONResponse(document, media_type="application/did+ld+json")


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """The API's reference, made of its OpenAPI description: a page without scripts, and with nothing from elsewhere."""
    described = request.app.openapi()
    return page("docs.html", description=described["info"]["description"].strip(), operations=operations_of(described))


@router.get("/")
async def root() -> dict[str, Any]:
    """Where to go from here."""
    return {"service": "headwater", "docs": "/docs", "openapi": "/openapi.json", "user": "/user", "ready": "/readyz"}
