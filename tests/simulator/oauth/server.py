"""An authorization server: what it says of itself, and the endpoints that clients post to.

Sources: RFC 9728 (protected resource), RFC 8414 (metadata), RFC 9126 (PAR), RFC 6749, RFC 7009 (revocation).
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from aiohttp import web

from simulator.host import as_json
from simulator.reply import Reply

from .clients import SCOPE, Client, Fetch, authenticate, fetch_document, find_client
from .errors import OAuthError
from .grants import Grants, Request
from .proofs import Once, Proofs
from .visits import REQUEST_SECONDS, Visits

if TYPE_CHECKING:
    from simulator.account import Account

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
Form = dict[str, str]


class AuthorizationServer:
    """The authorization server of a PDS, at the same origin. `find` gives its account of a handle or DID.

    Tests may make it lie (`metadata` is laid over its description) and give it the documents of clients (`fetch`).
    """

    def __init__(self, url: str, find: Callable[[str], Account | None]) -> None:
        self.url = url
        self.metadata: dict[str, Any] = {}
        self.fetch: Fetch = fetch_document
        self.proofs = Proofs()
        self.grants = Grants()
        self.visits = Visits(url, self.grants, find)
        self._assertions = Once()
        self._endpoints: dict[str, Callable[[Form, Client, str], Awaitable[Reply]]] = {
            "/oauth/par": self._push,
            "/oauth/token": self._token,
            "/oauth/revoke": self._revoke,
        }

    async def respond(self, request: web.Request) -> Reply | None:
        """The answer to what is an authorization server's to answer; None for the rest."""
        match request.method, request.path:
            case "GET", "/.well-known/oauth-protected-resource":
                return as_json({"resource": self.url, "authorization_servers": [self.url]})
            case "GET", "/.well-known/oauth-authorization-server":
                return as_json(self._described() | self.metadata)
            case "GET" | "POST", "/oauth/authorize":
                return await self.visits.respond(request)
            case "POST", path if path in self._endpoints:
                return await self._post(request)
        return None

    def answer(self, location: str, did: str | None) -> dict[str, str]:
        """For tests, in place of a person at the pages: the callback's parameters of a yes as `did`, or of a no.

        `location` is where the client has sent its browser to. Any DID will do, so that this server can lie.
        """
        uri = parse_qs(urlsplit(location).query)["request_uri"][0]
        return dict(parse_qsl(urlsplit(self.visits.answer(uri, did)).query))

    def account_of(self, request: web.Request) -> str:
        """The DID for which a request to the PDS is made, by its token and proof (RFC 9449 section 7).

        Raises OAuthError.
        """
        token = request.headers.get("Authorization", "").removeprefix("DPoP ")
        key = self.proofs.check(request.headers, request.method, f"{self.url}{request.path}", token)
        return self.grants.account(token, key)

    async def _post(self, request: web.Request) -> Reply:
        try:
            form = await _form(request)
            key = self.proofs.check(request.headers, "POST", f"{self.url}{request.path}")
            client = await find_client(form.get("client_id", ""), self.fetch)
            authenticate(client, form, self.url, self._assertions)
            reply = await self._endpoints[request.path](form, client, key)
        except OAuthError as error:
            reply = error.reply({})
        reply.headers.update({"DPoP-Nonce": self.proofs.nonce, "Cache-Control": "no-store"})
        return reply

    async def _push(self, form: Form, client: Client, key: str) -> Reply:
        if "request_uri" in form:
            raise OAuthError("invalid_request", "a pushed request names no other one")
        if (form.get("response_type"), form.get("code_challenge_method")) != ("code", "S256"):
            raise OAuthError("invalid_request", "response_type is code and code_challenge_method S256")
        if not _CHALLENGE.fullmatch(form.get("code_challenge", "")):
            raise OAuthError("invalid_request", "code_challenge is no SHA-256")
        if form.get("scope") != SCOPE:
            raise OAuthError("invalid_scope", f"this server knows the scope {SCOPE} alone")
        if not form.get("state"):
            raise OAuthError("invalid_request", "a request has a state")
        if not client.takes(form.get("redirect_uri", "")):
            raise OAuthError("invalid_request", "redirect_uri is none of the client's")
        request = Request(client.client_id, client.name, form, key, time.monotonic() + REQUEST_SECONDS)
        return as_json({"request_uri": self.visits.push(request), "expires_in": int(REQUEST_SECONDS)}, 201)

    async def _token(self, form: Form, client: Client, key: str) -> Reply:
        match form.get("grant_type"):
            case "authorization_code":
                return as_json(self.grants.redeem(form, client.client_id, key))
            case "refresh_token":
                return as_json(self.grants.refresh(form, client.client_id, key))
        raise OAuthError("unsupported_grant_type", "grant_type is authorization_code or refresh_token")

    async def _revoke(self, form: Form, client: Client, key: str) -> Reply:
        self.grants.revoke(form.get("token", ""), client.client_id)
        return Reply(b"", "text/plain")

    def _described(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/oauth/authorize",
            "token_endpoint": f"{self.url}/oauth/token",
            "pushed_authorization_request_endpoint": f"{self.url}/oauth/par",
            "revocation_endpoint": f"{self.url}/oauth/revoke",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
            "dpop_signing_alg_values_supported": ["ES256"],
            "scopes_supported": [SCOPE],
            "authorization_response_iss_parameter_supported": True,
            "require_pushed_authorization_requests": True,
            "client_id_metadata_document_supported": True,
        }


async def _form(request: web.Request) -> Form:
    fields = await request.post()
    if len(fields) != len(set(fields)):
        raise OAuthError("invalid_request", "a parameter is there twice")
    return {name: str(value) for name, value in fields.items()}
