"""A PDS with its authorization server, strict about what the OAuth profile of atproto asks of clients.

It shares no code with the gateway's client. ``consent`` stands for the person at its pages.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import jwt
from aiohttp import web
from yarl import URL

NONCE = "the-nonce"


@dataclass
class Pushed:
    """A request that was pushed: its fields, and the key that it was made with."""

    form: dict[str, str]
    key: dict[str, str]


@dataclass
class AuthorizationServer:
    """Answers for the handles that it knows; ``issuer`` is what it calls itself, and may be made to lie."""

    url: str = ""
    issuer: str = ""
    handles: dict[str, str] = field(default_factory=dict)
    jwks: dict[str, Any] | None = None
    pushed: dict[str, Pushed] = field(default_factory=dict)
    codes: dict[str, tuple[Pushed, str]] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    granted: list[str] = field(default_factory=list)
    proofs: set[str] = field(default_factory=set)
    metadata: dict[str, Any] = field(default_factory=dict)

    def consent(self, location: str, did: str) -> dict[str, str]:
        """The person says yes as ``did``: the parameters of the callback."""
        pushed = self._take(location)
        code = secrets.token_urlsafe(16)
        self.codes[code] = (pushed, did)
        return {"code": code, "state": pushed.form["state"], "iss": self.issuer}

    def deny(self, location: str) -> dict[str, str]:
        """The person says no."""
        return {"error": "access_denied", "state": self._take(location).form["state"], "iss": self.issuer}

    def _take(self, location: str) -> Pushed:
        return self.pushed.pop(URL(location).query["request_uri"])

    async def respond(self, request: web.Request) -> web.Response:
        match request.method, request.path:
            case "GET", "/.well-known/oauth-protected-resource":
                return web.json_response({"resource": self.url, "authorization_servers": [self.issuer]})
            case "GET", "/.well-known/oauth-authorization-server":
                return web.json_response(self._described() | self.metadata)
            case "GET", "/xrpc/com.atproto.identity.resolveHandle":
                did = self.handles.get(request.query["handle"])
                return web.json_response({"did": did}) if did else web.json_response({}, status=400)
            case "POST", "/oauth/par" | "/oauth/token" | "/oauth/revoke":
                return await self._post(request)
        return web.json_response({}, status=404)

    async def _post(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        key, nonce = self._proven(request)
        if nonce != NONCE:
            return web.json_response({"error": "use_dpop_nonce"}, status=400, headers={"DPoP-Nonce": NONCE})
        self._check_client(form)
        if request.path == "/oauth/par":
            assert (form["response_type"], form["code_challenge_method"], form["scope"]) == ("code", "S256", "atproto")
            uri = f"urn:ietf:params:oauth:request_uri:{secrets.token_urlsafe(8)}"
            self.pushed[uri] = Pushed(form, key)
            return web.json_response({"request_uri": uri, "expires_in": 60}, status=201)
        if request.path == "/oauth/revoke":
            self.revoked.append(form["token"])
            return web.Response(status=200)
        return self._redeem(form, key)

    def _redeem(self, form: dict[str, str], key: dict[str, str]) -> web.Response:
        pushed, did = self.codes.pop(form["code"], (None, ""))
        if pushed is None:
            return web.json_response({"error": "invalid_grant"}, status=400)
        digest = base64.urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        assert (form["grant_type"], digest) == ("authorization_code", pushed.form["code_challenge"])
        assert (key, form["redirect_uri"]) == (pushed.key, pushed.form["redirect_uri"])
        token = secrets.token_urlsafe(16)
        self.granted.append(token)
        granted = {"access_token": secrets.token_urlsafe(16), "refresh_token": token, "token_type": "DPoP"}
        return web.json_response({**granted, "scope": "atproto", "sub": did, "expires_in": 300})

    def _proven(self, request: web.Request) -> tuple[dict[str, str], str | None]:
        proof = request.headers["DPoP"]
        header = jwt.get_unverified_header(proof)
        assert header["typ"] == "dpop+jwt"
        claims = jwt.decode(proof, jwt.PyJWK(header["jwk"]).key, algorithms=["ES256"])
        assert (claims["htm"], claims["htu"]) == ("POST", f"{self.url}{request.path}")
        assert claims["jti"] not in self.proofs
        self.proofs.add(claims["jti"])
        return header["jwk"], claims.get("nonce")

    def _check_client(self, form: dict[str, str]) -> None:
        if self.jwks is None:
            assert form["client_id"].startswith("http://localhost?")
            assert "client_assertion" not in form
            return
        key = jwt.PyJWK(self.jwks["keys"][0]).key
        claims = jwt.decode(form["client_assertion"], key, algorithms=["ES256"], audience=self.issuer)
        assert claims["iss"] == claims["sub"] == form["client_id"]

    def _described(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.url}/oauth/authorize",
            "token_endpoint": f"{self.url}/oauth/token",
            "pushed_authorization_request_endpoint": f"{self.url}/oauth/par",
            "revocation_endpoint": f"{self.url}/oauth/revoke",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "dpop_signing_alg_values_supported": ["ES256"],
            "scopes_supported": ["atproto"],
            "authorization_response_iss_parameter_supported": True,
            "require_pushed_authorization_requests": True,
        }


@asynccontextmanager
async def running_authorization_server() -> AsyncIterator[AuthorizationServer]:
    """One on a free loopback port."""
    server = AuthorizationServer()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.respond)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = server.issuer = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
