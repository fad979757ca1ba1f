"""Who the gateway is, and where people find what."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api_gateway.auth.service_token import SERVICE_FRAGMENT
from api_gateway.gateway import GatewayDep

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


@router.get("/")
async def root() -> dict[str, Any]:
    """Where to go from here."""
    return {"service": "headwater", "docs": "/docs", "openapi": "/openapi.json", "user": "/user", "ready": "/readyz"}
