"""How often logins may be begun, by one client address and for one account, and the operators' token tried."""

from __future__ import annotations

import ipaddress
import time
from http import HTTPStatus
from typing import Final

from api_gateway.problems import Problem
from api_gateway.token_buckets import TokenBuckets

PER_ADDRESS: Final = (20, 60.0)
"""Logins at once from one address, and the seconds in which that many come back."""
PER_ACTOR: Final = (10, 300.0)
"""The same for one handle, DID or host: authorization servers must not be called by us in floods."""
TOKENS_PER_ADDRESS: Final = (10, 300.0)
"""Tries of the operators' token from one address, and the seconds in which that many come back."""
_IPV6_PREFIX: Final = 64


class LoginLimits:
    """Raises Problem 429 where logins come too fast."""

    def __init__(self) -> None:
        self._addresses = TokenBuckets(*PER_ADDRESS)
        self._actors = TokenBuckets(*PER_ACTOR)

    def check(self, address: str, actor: str) -> None:
        """Count a login from this address for this actor. Raises Problem 429."""
        now = time.monotonic()
        wait = self._addresses.take(network_of(address), now) or self._actors.take(actor.lower(), now)
        if wait:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS, "too_many_logins", "logins are begun too often", retry_after=wait
            )


class TokenLimits:
    """Raises Problem 429 where the operators' token is tried too fast."""

    def __init__(self) -> None:
        self._addresses = TokenBuckets(*TOKENS_PER_ADDRESS)

    def check(self, address: str) -> None:
        """Count a try from this address. Raises Problem 429."""
        wait = self._addresses.take(network_of(address), time.monotonic())
        if wait:
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too_many_logins", "it is tried too often", retry_after=wait)


def network_of(address: str) -> str:
    """What one client can be expected to have: an IPv4 address, a /64 of IPv6."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((ip, _IPV6_PREFIX), strict=False))
    return str(ip)
