"""Keys and signed tokens of an OAuth client: PKCE, DPoP proofs, client assertions; pure.

Sources: RFC 7636 (PKCE), RFC 9449 (DPoP), RFC 7523 (private_key_jwt), RFC 7638 (thumbprints).
Times are in seconds since 1970; keys are P-256, the one curve that every authorization server of atproto takes.
"""

from __future__ import annotations

import base64
import json
import secrets
from hashlib import sha256
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm

ALGORITHM: Final = "ES256"
_LIFETIME_SECONDS: Final = 60


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """The key as PKCS #8 PEM, unencrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def key_from_pem(pem: str) -> ec.EllipticCurvePrivateKey:
    """The P-256 key in a PEM. Raises ValueError for anything else."""
    key = load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a P-256 key")  # noqa: TRY004 (the value is wrong, not the caller's type)
    return key


def public_jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """The public half as a JWK (RFC 7517): kty, crv, x, y."""
    jwk: dict[str, str] = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {name: jwk[name] for name in ("crv", "kty", "x", "y")}


def thumbprint(key: ec.EllipticCurvePrivateKey) -> str:
    """The JWK's SHA-256 thumbprint, base64url: a name for the key that any holder can compute."""
    canonical = json.dumps(public_jwk(key), separators=(",", ":"), sort_keys=True)
    return _base64url(sha256(canonical.encode()).digest())


def new_verifier() -> str:
    """A PKCE code verifier of 43 characters."""
    return secrets.token_urlsafe(32)


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier."""
    return _base64url(sha256(verifier.encode()).digest())


def dpop_proof(key: ec.EllipticCurvePrivateKey, method: str, url: str, nonce: str | None, now: float) -> str:
    """A DPoP proof for one request; ``url`` has no query and no fragment (RFC 9449 section 4.2)."""
    claims: dict[str, Any] = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": url, "iat": int(now)}
    if nonce is not None:
        claims["nonce"] = nonce
    return jwt.encode(claims, key, ALGORITHM, headers={"typ": "dpop+jwt", "jwk": public_jwk(key)})


def client_assertion(key: ec.EllipticCurvePrivateKey, client_id: str, issuer: str, now: float) -> str:
    """What a confidential client proves itself with at ``issuer`` (RFC 7523 section 3)."""
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "jti": secrets.token_urlsafe(16),
        "iat": int(now),
        "exp": int(now) + _LIFETIME_SECONDS,
    }
    return jwt.encode(claims, key, ALGORITHM, headers={"kid": thumbprint(key)})


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
