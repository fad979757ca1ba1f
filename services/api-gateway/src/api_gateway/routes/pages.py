"""Who the gateway is, and where people find what."""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter
from starlette.responses import HTMLResponse, JSONResponse

from api_gateway.auth.methods import Method
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


@router.get("/user")
async def user(gateway: GatewayDep) -> HTMLResponse:
    """How a user asks for a backfill."""
    return HTMLResponse(_PAGE.format(did=escape(gateway.settings.did), lxm=Method.REQUEST_BACKFILL.value))


@router.get("/")
async def root() -> dict[str, Any]:
    """Where to go from here."""
    return {"service": "headwater", "docs": "/docs", "openapi": "/openapi.json", "user": "/user", "ready": "/readyz"}


_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Headwater</title>
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem }}
pre {{ background: #f3f3f3; padding: 1rem; overflow-x: auto }}</style></head>
<body>
<h1>Headwater</h1>
<p>Your account's data is here on request. Ask your PDS for a token, and this server for a backfill:</p>
<pre>GET  &lt;your PDS&gt;/xrpc/com.atproto.server.getServiceAuth
     ?aud={did}&amp;lxm={lxm}

POST /api/user/backfill
     Authorization: Bearer &lt;token&gt;
     Content-Type: application/json

     {{"days": 30}}</pre>
<p><code>days</code> is how far back, 0 for all time. The answer names a job; <a href="/docs">the API's reference</a>
says how to follow it, to cancel it, and to see what is held.</p>
</body>
</html>
"""
