"""Service-auth tokens, as `com.atproto.server.getServiceAuth` hands them out.

Source: https://atproto.com/specs/xrpc#inter-service-authentication-jwt
"""

from __future__ import annotations

import base64
import json
import secrets
import time

from .keys import SigningKey


def service_auth(
    key: SigningKey,
    iss: str,
    aud: str,
    lxm: str | None,
    *,
    exp: float | None = None,
    iat: float | None = None,
    algorithm: str | None = None,
    **claims: object,
) -> str:
    """A signed token, good for 60 seconds from `iat` (now) unless `exp` (seconds since the epoch) says otherwise.

    Further claims are put in as they are, those that are None are left out: for tokens that must be refused.
    `algorithm` overrides the header's `alg` only.
    """
    issued = int(time.time() if iat is None else iat)
    expires = issued + 60 if exp is None else int(exp)
    payload: dict[str, object] = {"iat": issued, "iss": iss, "aud": aud, "exp": expires}
    payload |= {"lxm": lxm, "jti": secrets.token_hex(16)} | claims
    header = {"typ": "JWT", "alg": algorithm or key.algorithm}
    body = {name: value for name, value in payload.items() if value is not None}
    signed = f"{_part(json.dumps(header).encode())}.{_part(json.dumps(body).encode())}"
    return f"{signed}.{_part(key.sign(signed.encode()))}"


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
