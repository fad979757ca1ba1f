"""Who Headwater is to authorization servers: its client id, its redirect, its metadata.

Source: https://atproto.com/specs/oauth#clients. On loopback there is nothing to fetch: the client id says all itself
and no key is needed. With a public URL the metadata is hosted, and the client is confidential (private_key_jwt).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import ec

from api_gateway.oauth.jose import ALGORITHM, client_assertion, public_jwk, thumbprint

SCOPE: Final = "atproto"
CALLBACK_PATH: Final = "/oauth/callback"
METADATA_PATH: Final = "/oauth/client-metadata.json"
JWKS_PATH: Final = "/oauth/jwks.json"
_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class OAuthClient:
    """A client at ``origin`` (where browsers reach the gateway). ``key`` is there for a confidential one."""

    origin: str
    key: ec.EllipticCurvePrivateKey | None = None

    @property
    def redirect_uri(self) -> str:
        """Where browsers come back to."""
        return self.origin + CALLBACK_PATH

    @property
    def client_id(self) -> str:
        """The URL of the metadata, or for loopback the id that holds all there is to say."""
        if self.key is not None:
            return self.origin + METADATA_PATH
        return "http://localhost?" + urlencode({"redirect_uri": self.redirect_uri, "scope": SCOPE})

    def credentials(self, issuer: str) -> dict[str, str]:
        """The fields that identify us in a request to an authorization server."""
        fields = {"client_id": self.client_id}
        if self.key is not None:
            fields["client_assertion_type"] = _ASSERTION_TYPE
            fields["client_assertion"] = client_assertion(self.key, self.client_id, issuer, time.time())
        return fields

    def metadata(self) -> dict[str, Any]:
        """The client metadata document (RFC 7591 fields) of a confidential client."""
        return {
            "client_id": self.client_id,
            "client_name": "Headwater",
            "client_uri": self.origin,
            "application_type": "web",
            "redirect_uris": [self.redirect_uri],
            "grant_types": ["authorization_code"],
            "response_types": ["code"],
            "scope": SCOPE,
            "dpop_bound_access_tokens": True,
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": ALGORITHM,
            "jwks_uri": self.origin + JWKS_PATH,
        }

    def jwks(self) -> dict[str, Any]:
        """The public keys (RFC 7517) of a confidential client; none for loopback."""
        if self.key is None:
            return {"keys": []}
        return {"keys": [public_jwk(self.key) | {"kid": thumbprint(self.key), "use": "sig", "alg": ALGORITHM}]}
