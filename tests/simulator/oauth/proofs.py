"""DPoP proofs as a server checks them. Source: RFC 9449 sections 4.3, 8 and 9."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Mapping

from .errors import OAuthError
from .jws import Token, digest, thumbprint

NONCE_SECONDS = 120.0
_LEEWAY_SECONDS = 60.0


class Once:
    """Ids that are good once, for as long as the token that they stand in can be."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}

    def spend(self, jti: object) -> bool:
        """Whether it is a new one."""
        now = time.time()
        self._seen = {known: until for known, until in self._seen.items() if until > now}
        if not isinstance(jti, str) or not jti or jti in self._seen:
            return False
        self._seen[jti] = now + 2 * _LEEWAY_SECONDS
        return True


def fresh(iat: object) -> bool:
    """Whether a token's `iat` (seconds since the epoch) is of just now."""
    return isinstance(iat, int) and abs(time.time() - iat) <= _LEEWAY_SECONDS


class Proofs:
    """What a server knows of proofs: the nonces that it gave, the ids that it has seen."""

    def __init__(self) -> None:
        self._ids = Once()
        self._nonces: deque[str] = deque(maxlen=2)
        self._since = 0.0
        self.rotate()

    @property
    def nonce(self) -> str:
        """The nonce that the next proof should hold; the one before it is still taken."""
        if time.monotonic() - self._since > NONCE_SECONDS:
            self.rotate()
        return self._nonces[-1]

    def rotate(self) -> None:
        """A new nonce, as it comes every few minutes."""
        self._nonces.append(secrets.token_urlsafe(16))
        self._since = time.monotonic()

    def check(self, headers: Mapping[str, str], method: str, url: str, access_token: str | None = None) -> str:
        """The thumbprint of the key that a request proves to have; `url` is that of the request without its query.

        Raises OAuthError: use_dpop_nonce, invalid_dpop_proof.
        """
        try:
            proof = Token.parse(headers["DPoP"])
            jwk = proof.header["jwk"]
            proof.verify(jwk)
        except (KeyError, ValueError, AttributeError) as error:
            raise OAuthError("invalid_dpop_proof", f"no proof: {error}") from None
        claims = proof.claims
        if proof.header.get("typ") != "dpop+jwt":
            raise _invalid("typ")
        if (claims.get("htm"), claims.get("htu")) != (method, url):
            raise _invalid("htm or htu")
        if not fresh(claims.get("iat")):
            raise _invalid("iat")
        if access_token is not None and claims.get("ath") != digest(access_token):
            raise _invalid("ath")
        if claims.get("nonce") not in (self.nonce, self._nonces[0]):
            raise OAuthError("use_dpop_nonce", "the proof lacks the nonce of this server")
        if not self._ids.spend(claims.get("jti")):
            raise _invalid("jti")
        return thumbprint(jwk)


def _invalid(claim: str) -> OAuthError:
    return OAuthError("invalid_dpop_proof", f"the proof's {claim} is not that of this request")
