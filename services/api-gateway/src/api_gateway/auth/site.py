"""Where browsers reach the gateway: what its cookies, its redirects and its pages' requests go by."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from starlette.requests import Request

from api_gateway.oauth.client import OAuthClient


class Site:
    """The public origin of the settings with the client's key, or loopback on the port that we listen on."""

    def __init__(self, public_url: str | None, key: ec.EllipticCurvePrivateKey | None) -> None:
        self._public_url = public_url
        self._key = key

    @property
    def secure(self) -> bool:
        """Whether it is https, so that cookies are for https alone."""
        return self._public_url is not None and self._public_url.startswith("https://")

    def origin(self, request: Request) -> str:
        """Where browsers reach the gateway. On loopback by address: authorization servers redirect to no name."""
        if self._public_url is not None:
            return self._public_url
        # The socket's own port, not what a client says in Host.
        return f"http://127.0.0.1:{request.scope['server'][1]}"

    def client(self, request: Request) -> OAuthClient:
        """Who we are to authorization servers."""
        return OAuthClient(self.origin(request), self._key)

    @property
    def hosted_client(self) -> OAuthClient | None:
        """The client whose metadata we serve; None on loopback, where nobody could fetch it."""
        return None if self._public_url is None or self._key is None else OAuthClient(self._public_url, self._key)
