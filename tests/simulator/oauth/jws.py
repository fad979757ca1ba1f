"""Tokens that others have signed, read and verified: ES256, the one algorithm that every client of atproto has.

Sources: RFC 7515 (JWS), RFC 7518 section 3.4 (ES256), RFC 7517 (JWK), RFC 7638 (thumbprints).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

_MEMBERS = ("crv", "kty", "x", "y")


@dataclass(frozen=True)
class Token:
    """A token taken apart; nothing of it is believed before `verify`."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    @classmethod
    def parse(cls, text: str) -> Token:
        """Raises ValueError for what is no signed token of two JSON objects."""
        head, dot, signature = text.rpartition(".")
        header, claims = (json.loads(decode(part)) for part in head.split("."))
        if not dot or not isinstance(header, dict) or not isinstance(claims, dict):
            raise ValueError("a token has two objects and a signature")
        return cls(header, claims, head.encode(), decode(signature))

    def verify(self, jwk: dict[str, Any]) -> None:
        """Raises ValueError unless the token is an ES256 one of this public key."""
        if self.header.get("alg") != "ES256" or len(self.signature) != 64:
            raise ValueError("the token is not signed with ES256")
        r, s = int.from_bytes(self.signature[:32], "big"), int.from_bytes(self.signature[32:], "big")
        try:
            _public_key(jwk).verify(encode_dss_signature(r, s), self.signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise ValueError("the token's signature is not of its key") from None


def thumbprint(jwk: dict[str, Any]) -> str:
    """The name that a public key has by itself (RFC 7638)."""
    return digest(json.dumps({name: jwk[name] for name in _MEMBERS}, separators=(",", ":")))


def digest(text: str) -> str:
    """SHA-256 in base64url: a PKCE challenge of its verifier, the `ath` of an access token."""
    return base64.urlsafe_b64encode(sha256(text.encode()).digest()).decode().rstrip("=")


def decode(part: str) -> bytes:
    """base64url without padding. Raises ValueError."""
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def _public_key(jwk: dict[str, Any]) -> ec.EllipticCurvePublicKey:
    if (jwk.get("kty"), jwk.get("crv")) != ("EC", "P-256") or "d" in jwk:
        raise ValueError("the key is not a public P-256 key")
    try:
        x, y = (int.from_bytes(decode(jwk[name]), "big") for name in ("x", "y"))
    except (KeyError, TypeError):
        raise ValueError("the key lacks a coordinate") from None
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
