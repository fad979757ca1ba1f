"""Service-auth tokens as text: parsed strictly, claims checked; pure.

Source: https://atproto.com/specs/xrpc#inter-service-authentication-jwt (a JWS in compact form, RFC 7515).
Whose key signed one is ``api_gateway.auth.service_auth``'s question.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson

from headwater.keys import Curve
from headwater.syntax import is_did

MAX_LENGTH: Final = 4096
MAX_LIFETIME_SECONDS: Final = 3600
CLOCK_SKEW_SECONDS: Final = 60
SERVICE_FRAGMENT: Final = "#headwater"
_ACCOUNT_FRAGMENT: Final = "#atproto"
_COMPACT: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
# The only algorithms there are: "none" and the symmetric ones do not exist here.
_CURVES: Final = {"ES256K": Curve.K256, "ES256": Curve.P256}


class TokenError(Exception):
    """A token that is refused. ``reason`` is for programs, the text for people; neither holds the token."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ServiceToken:
    """A token whose form is right; nothing is yet said about who signed it. Times in seconds since 1970."""

    curve: Curve
    did: str
    audience: str
    method: str
    issued_at: int
    expires_at: int
    signed: bytes
    signature: bytes

    @property
    def fingerprint(self) -> str:
        """A name for what was signed. Not of the whole text: its last characters can be varied at will."""
        return sha256(self.signed).hexdigest()


def parse_token(text: str) -> ServiceToken:
    """Parse a token. Raises TokenError."""
    match = _COMPACT.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        raise TokenError("token_malformed", "the token is not a compact JWS")
    header, claims = _object(match[1], "header"), _object(match[2], "payload")
    if "crit" in header or str(header.get("typ", "JWT")).upper() != "JWT":
        raise TokenError("token_malformed", "the token's header is not one of a service-auth token")
    algorithm = header.get("alg")
    curve = _CURVES.get(algorithm) if isinstance(algorithm, str) else None
    if curve is None:
        raise TokenError("token_algorithm", "the token's algorithm is neither ES256K nor ES256")
    return ServiceToken(
        curve=curve,
        did=_issuer(_text(claims, "iss")),
        audience=_text(claims, "aud"),
        method=_text(claims, "lxm"),
        issued_at=_seconds(claims, "iat"),
        expires_at=_seconds(claims, "exp"),
        signed=f"{match[1]}.{match[2]}".encode(),
        signature=_decode(match[3], "signature"),
    )


def check_claims(token: ServiceToken, *, audience: str, method: str, now: float) -> None:
    """Check that a token is for us, for this method and for now (seconds since 1970). Raises TokenError."""
    if token.audience not in (audience, audience + SERVICE_FRAGMENT):
        raise TokenError("token_audience", f"the token's aud has to be {audience}")
    if token.method != method:
        raise TokenError("token_method", f"the token's lxm has to be {method}")
    if token.expires_at <= now:
        raise TokenError("token_expired", "the token has expired")
    if token.issued_at > now + CLOCK_SKEW_SECONDS:
        raise TokenError("token_not_yet_valid", "the token was issued in the future")
    if token.expires_at > now + MAX_LIFETIME_SECONDS + CLOCK_SKEW_SECONDS:
        raise TokenError("token_lifetime", f"the token is good for more than {MAX_LIFETIME_SECONDS} seconds")


def _object(part: str, name: str) -> dict[str, Any]:
    try:
        value = orjson.loads(_decode(part, name))
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise TokenError("token_malformed", f"the token's {name} is not a JSON object")
    return value


def _decode(part: str, name: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise TokenError("token_malformed", f"the token's {name} is not base64url") from None


def _issuer(text: str) -> str:
    did = text.removesuffix(_ACCOUNT_FRAGMENT)
    if not is_did(did):
        raise TokenError("token_issuer", "the token's iss is not a DID")
    return did


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise TokenError("token_malformed", f"the token has no {name}")
    return value


def _seconds(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int:
        raise TokenError("token_malformed", f"the token has no {name} in whole seconds")
    return value
