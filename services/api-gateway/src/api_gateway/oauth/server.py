"""What is said to a PDS and its authorization server, through the guarded HTTP client.

Every request is bounded and within the egress policy, and no redirect is followed: the atproto profile allows none.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from api_gateway.oauth.client import SCOPE, OAuthClient
from api_gateway.oauth.errors import OAuthError, OAuthReason
from api_gateway.oauth.jose import dpop_proof
from api_gateway.oauth.server_metadata import AuthorizationServer, issuer_of_resource, parse_issuer, parse_server
from headwater.errors import InvalidInputError, Reason
from headwater.http import GuardedHttp, JsonAnswer
from headwater.syntax import is_did

_MAX_METADATA: Final = 64 * 1024
_MAX_ANSWER: Final = 32 * 1024
_MAX_NONCE: Final = 512
_MAX_REQUEST_URI: Final = 512


@dataclass(frozen=True, slots=True)
class Conversation:
    """One login's talk with one server: the DPoP key that binds it, and the nonce that the server gave last."""

    server: AuthorizationServer
    key: ec.EllipticCurvePrivateKey
    nonce: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Granted:
    """What the token endpoint gave: who it is for, and the token by which all of it can be revoked."""

    did: str
    token: str


async def issuer_of_pds(http: GuardedHttp, pds: str) -> str:
    """The issuer that serves a PDS, an origin. Raises OAuthError(NO_OAUTH), InvalidInputError, TransientError."""
    document = await _metadata(http, f"{pds}/.well-known/oauth-protected-resource")
    return issuer_of_resource(document, pds)


async def issuer_of_host(http: GuardedHttp, origin: str) -> str:
    """The issuer behind a URL that a person typed: that of a PDS, or the host itself, as entryways are.

    Raises what `issuer_of_pds` raises.
    """
    try:
        return await issuer_of_pds(http, origin)
    except OAuthError:
        return parse_issuer(origin)


async def describe(http: GuardedHttp, issuer: str) -> AuthorizationServer:
    """The server's own description. Raises OAuthError, InvalidInputError, TransientError."""
    return parse_server(await _metadata(http, f"{issuer}/.well-known/oauth-authorization-server"), issuer)


async def push_request(
    http: GuardedHttp, client: OAuthClient, talk: Conversation, *, state: str, challenge: str, hint: str | None
) -> tuple[str, Conversation]:
    """Push an authorization request (RFC 9126): its request_uri, and the talk with the server's newest nonce.

    Raises OAuthError(LOGIN_REFUSED), InvalidInputError, TransientError.
    """
    fields = {
        "response_type": "code",
        "redirect_uri": client.redirect_uri,
        "scope": SCOPE,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    if hint is not None:
        fields["login_hint"] = hint
    body, talk = await _post(http, client, talk, talk.server.pushed_request, fields)
    request_uri = body.get("request_uri")
    if not isinstance(request_uri, str) or not 0 < len(request_uri) <= _MAX_REQUEST_URI:
        raise OAuthError(OAuthReason.LOGIN_REFUSED, "the authorization server gave no request_uri")
    return request_uri, talk


async def exchange_code(
    http: GuardedHttp, client: OAuthClient, talk: Conversation, *, code: str, verifier: str
) -> tuple[Granted, Conversation]:
    """Redeem a code. Raises OAuthError(LOGIN_REFUSED), InvalidInputError, TransientError."""
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client.redirect_uri,
        "code_verifier": verifier,
    }
    body, talk = await _post(http, client, talk, talk.server.token, fields)
    did, scope, token = body.get("sub"), body.get("scope"), body.get("refresh_token") or body.get("access_token")
    if not isinstance(scope, str) or SCOPE not in scope.split():
        raise OAuthError(OAuthReason.LOGIN_REFUSED, f"the scope {SCOPE} was not granted")
    if not isinstance(did, str) or not is_did(did) or not isinstance(token, str):
        raise OAuthError(OAuthReason.LOGIN_REFUSED, "the authorization server named no account")
    return Granted(did, token), talk


async def revoke(http: GuardedHttp, client: OAuthClient, talk: Conversation, granted: Granted) -> None:
    """Give back what was granted (RFC 7009). Raises OAuthError(LOGIN_REFUSED), InvalidInputError, TransientError."""
    if talk.server.revocation is not None:
        await _post(http, client, talk, talk.server.revocation, {"token": granted.token}, may_be_empty=True)


async def _metadata(http: GuardedHttp, url: str) -> object:
    try:
        answer = await http.get_json(url, max_bytes=_MAX_METADATA, redirects=0)
    except InvalidInputError as error:
        if error.reason is Reason.RESPONSE_MALFORMED:
            raise OAuthError(OAuthReason.NO_OAUTH, error.detail) from error
        raise
    if answer.status != 200:
        raise OAuthError(OAuthReason.NO_OAUTH, f"{url} answers {answer.status}")
    return answer.value


async def _post(
    http: GuardedHttp,
    client: OAuthClient,
    talk: Conversation,
    url: str,
    fields: Mapping[str, str],
    *,
    may_be_empty: bool = False,
) -> tuple[dict[str, Any], Conversation]:
    """POST with a DPoP proof; once more where the server wants its nonce in it (RFC 9449 section 8)."""
    for _ in range(2):
        form = {**fields, **client.credentials(talk.server.issuer)}
        proof = dpop_proof(talk.key, "POST", url, talk.nonce, time.time())
        answer = await http.post_form(url, form, {"DPoP": proof}, max_bytes=_MAX_ANSWER)
        nonce = answer.headers.get("DPoP-Nonce")
        if nonce is not None and len(nonce) <= _MAX_NONCE:
            talk = Conversation(talk.server, talk.key, nonce)
        if not (nonce and _error(answer) == "use_dpop_nonce"):
            break
    if answer.status not in (200, 201):
        raise OAuthError(OAuthReason.LOGIN_REFUSED, f"the authorization server says {_error(answer) or answer.status}")
    if not isinstance(answer.value, dict):
        if may_be_empty:
            return {}, talk
        raise OAuthError(OAuthReason.LOGIN_REFUSED, "the authorization server's answer is not an object")
    return answer.value, talk


def _error(answer: JsonAnswer) -> str | None:
    """The error's code (RFC 6749 section 5.2), where it is one that may stand in a log line."""
    value = answer.value.get("error") if isinstance(answer.value, dict) and answer.status >= 400 else None
    return value if isinstance(value, str) and value.replace("_", "").isalnum() and len(value) <= 64 else None
