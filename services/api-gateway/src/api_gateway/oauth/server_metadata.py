"""What a PDS and its authorization server say of themselves, read strictly; pure.

Sources: https://atproto.com/specs/oauth#authorization-servers, RFC 8414, RFC 9728.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn

from yarl import URL

from api_gateway.oauth.errors import OAuthError, OAuthReason
from headwater.egress import parse_http_url
from headwater.errors import InvalidInputError

_MAX_URL: Final = 2048
_LISTED: Final = (
    ("response_types_supported", "code"),
    ("grant_types_supported", "authorization_code"),
    ("code_challenge_methods_supported", "S256"),
    ("dpop_signing_alg_values_supported", "ES256"),
    ("scopes_supported", "atproto"),
)
_TRUE: Final = ("authorization_response_iss_parameter_supported", "require_pushed_authorization_requests")


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """An authorization server that keeps the atproto profile. All but ``issuer``, an origin, are endpoints' URLs."""

    issuer: str
    authorization: str
    pushed_request: str
    token: str
    revocation: str | None


def parse_issuer(text: object) -> str:
    """An issuer as atproto has it: an origin, spelt as one (no path, no slash at the end).

    Raises OAuthError(NO_OAUTH). Whether plain http or a port may be asked is the egress policy's decision.
    """
    url = _url(text, "issuer")
    if str(url.origin()) != str(text):
        _refuse("the issuer is not an origin")
    return str(text)


def issuer_of_resource(document: object, resource: str) -> str:
    """The issuer that a PDS names in ``/.well-known/oauth-protected-resource``. Raises OAuthError(NO_OAUTH)."""
    if not isinstance(document, dict):
        _refuse("the protected resource's metadata is not an object")
    if document.get("resource", resource) != resource:
        _refuse("the metadata is that of another resource")
    servers = document.get("authorization_servers")
    if not isinstance(servers, list) or len(servers) != 1:
        _refuse("the resource does not name one authorization server")
    return parse_issuer(servers[0])


def parse_server(document: object, issuer: str) -> AuthorizationServer:
    """The server that ``/.well-known/oauth-authorization-server`` of ``issuer`` describes.

    Raises OAuthError: NO_OAUTH (it lacks what atproto asks for), ISSUER_MISMATCH (it is another one's).
    """
    if not isinstance(document, dict):
        _refuse("the authorization server's metadata is not an object")
    if document.get("issuer") != issuer:
        raise OAuthError(OAuthReason.ISSUER_MISMATCH, f"the metadata at {issuer} names another issuer")
    for name, value in _LISTED:
        listed = document.get(name)
        if not isinstance(listed, list) or value not in listed:
            _refuse(f"{name} lacks {value}")
    for name in _TRUE:
        if document.get(name) is not True:
            _refuse(f"{name} is not true")
    return AuthorizationServer(
        issuer=issuer,
        authorization=_endpoint(document, "authorization_endpoint"),
        pushed_request=_endpoint(document, "pushed_authorization_request_endpoint"),
        token=_endpoint(document, "token_endpoint"),
        revocation=_endpoint(document, "revocation_endpoint") if "revocation_endpoint" in document else None,
    )


def _endpoint(document: dict[str, Any], name: str) -> str:
    return str(_url(document.get(name), name))


def _url(text: object, name: str) -> URL:
    if not isinstance(text, str) or len(text) > _MAX_URL:
        _refuse(f"there is no {name}")
    try:
        return parse_http_url(text)
    except InvalidInputError:
        _refuse(f"the {name} is not a URL")


def _refuse(detail: str) -> NoReturn:
    raise OAuthError(OAuthReason.NO_OAUTH, detail)
