"""Who a client is: what its id says on loopback, what its metadata document says elsewhere, and the proof of it.

Source: https://atproto.com/specs/oauth#clients, RFC 7523 (private_key_jwt)
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp

from .errors import OAuthError
from .jws import Token
from .proofs import Once, fresh

#: Gives the JSON document of an https URL.
Fetch = Callable[[str], Awaitable[Any]]
SCOPE = "atproto"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LOOPBACK = ("127.0.0.1", "::1")
_MOST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Client:
    """A client. `keys` are those of a confidential one (JWKs), None is a public one."""

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]
    keys: tuple[dict[str, Any], ...] | None = None

    def takes(self, redirect_uri: str) -> bool:
        """Whether its users may be sent there; on loopback the port is free (RFC 8252 section 7.3)."""
        if self.keys is None and self.client_id.startswith("http://"):
            return _without_port(redirect_uri) in map(_without_port, self.redirect_uris)
        return redirect_uri in self.redirect_uris


async def fetch_document(url: str) -> Any:
    """The JSON document at an https URL, without redirects. Raises OAuthError."""
    try:
        async with (
            aiohttp.ClientSession(trust_env=True, timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise OAuthError("invalid_client_metadata", f"{url} answers {answer.status}")
            return json.loads(await answer.content.read(_MOST_BYTES))
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise OAuthError("invalid_client_metadata", f"{url} cannot be read: {error}") from error


async def find_client(client_id: str, fetch: Fetch) -> Client:
    """The client of an id. Raises OAuthError."""
    url = urlsplit(client_id)
    if url.scheme == "http":
        return _loopback(client_id)
    if url.scheme != "https" or url.port is not None or url.path in ("", "/") or url.fragment or "@" in url.netloc:
        raise OAuthError("invalid_client", "a client id is http://localhost or the https URL of a document")
    return await _described(client_id, fetch)


def authenticate(client: Client, form: Mapping[str, str], issuer: str, seen: Once) -> None:
    """Hold a request against the client's keys (RFC 7523 section 3). Raises OAuthError."""
    if client.keys is None:
        if "client_assertion" in form:
            raise OAuthError("invalid_client", "a public client has nothing to prove itself with")
        return
    if form.get("client_assertion_type") != _ASSERTION:
        raise OAuthError("invalid_client", "a confidential client proves itself with private_key_jwt")
    try:
        assertion = Token.parse(form["client_assertion"])
        (key,) = (key for key in client.keys if key.get("kid") == assertion.header["kid"])
        assertion.verify(key)
    except (KeyError, ValueError) as error:
        raise OAuthError("invalid_client", f"the assertion does not hold: {error}") from None
    claims = assertion.claims
    if (claims.get("iss"), claims.get("sub"), claims.get("aud")) != (client.client_id, client.client_id, issuer):
        raise OAuthError("invalid_client", "the assertion is about another client or for another server")
    if not fresh(claims.get("iat")) or not seen.spend(claims.get("jti")):
        raise OAuthError("invalid_client", "the assertion is an old one")


def _loopback(client_id: str) -> Client:
    """All that http://localhost?redirect_uri=…&scope=… says of itself."""
    url = urlsplit(client_id)
    if url.netloc != "localhost" or url.path not in ("", "/") or url.fragment:
        raise OAuthError("invalid_client", "a development client's id begins with http://localhost, without a port")
    said = parse_qs(url.query, strict_parsing=True) if url.query else {}
    if said.keys() - {"redirect_uri", "scope"} or SCOPE not in said.get("scope", [SCOPE])[0].split():
        raise OAuthError("invalid_client", "a development client's id holds redirect_uri and a scope with atproto")
    uris = tuple(said.get("redirect_uri", ["http://127.0.0.1/", "http://[::1]/"]))
    for uri in uris:
        parts = urlsplit(uri)
        if parts.scheme != "http" or parts.hostname not in _LOOPBACK:
            raise OAuthError("invalid_redirect_uri", f"{uri} is no address of loopback")
    return Client(client_id, "An app on this machine", uris)


async def _described(client_id: str, fetch: Fetch) -> Client:
    """What the document at a client's id says, where it is what atproto asks for."""
    document = await fetch(client_id)
    must = {"client_id": client_id, "dpop_bound_access_tokens": True}
    if not isinstance(document, dict) or any(document.get(name) != value for name, value in must.items()):
        raise OAuthError("invalid_client_metadata", "the document is of another client, or does not ask for DPoP")
    for name, value in (("response_types", "code"), ("grant_types", "authorization_code")):
        if value not in document.get(name, ()):
            raise OAuthError("invalid_client_metadata", f"{name} lacks {value}")
    if SCOPE not in str(document.get("scope")).split():
        raise OAuthError("invalid_client_metadata", f"the scope lacks {SCOPE}")
    uris = document.get("redirect_uris")
    if not isinstance(uris, list) or not uris or not all(str(uri).startswith("https://") for uri in uris):
        raise OAuthError("invalid_redirect_uri", "a web client's redirects are https")
    name = str(document.get("client_name") or client_id)
    match document.get("token_endpoint_auth_method"):
        case "none":
            return Client(client_id, name, tuple(uris))
        case "private_key_jwt":
            jwks = document["jwks"] if "jwks" in document else await fetch(str(document.get("jwks_uri")))
            return Client(client_id, name, tuple(uris), tuple(jwks["keys"]))
    raise OAuthError("invalid_client_metadata", "the client says neither none nor private_key_jwt")


def _without_port(uri: str) -> tuple[str | None, ...]:
    parts = urlsplit(uri)
    return parts.scheme, parts.hostname, parts.path, parts.query
