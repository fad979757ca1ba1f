"""How often logins may be begun, by one client address and for one account, and the operators' token tried."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import Final

from api_gateway.problems import Problem

PER_ADDRESS: Final = (20, 60.0)
"""Logins at once from one address, and the seconds in which that many come back."""
PER_ACTOR: Final = (10, 300.0)
"""The same for one handle, DID or host: authorization servers must not be called by us in floods."""
TOKENS_PER_ADDRESS: Final = (10, 300.0)
"""Tries of the operators' token from one address, and the seconds in which that many come back."""
_MAX_KNOWN: Final = 20_000
_IPV6_PREFIX: Final = 64


class TokenBuckets:
    """A token bucket for each key; those that were idle longest are forgotten."""

    def __init__(self, burst: int, seconds: float) -> None:
        self._burst = burst
        self._rate = burst / seconds
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """Take one; 0 when there was one, otherwise the seconds until there is. ``now`` only grows."""
        left, seen = self._known.pop(key, (float(self._burst), now))
        left = min(self._burst, left + (now - seen) * self._rate)
        wait = 0.0 if left >= 1 else (1 - left) / self._rate
        self._known[key] = (left if wait else left - 1, now)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        return wait


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
