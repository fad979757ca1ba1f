"""Tokens that were used: each opens one change, whichever gateway it comes to."""

from __future__ import annotations

from nats.js.errors import KeyWrongLastSequenceError

from api_gateway.auth.service_token import ServiceToken, TokenError
from api_gateway.bus import Bus


async def spend(bus: Bus, token: ServiceToken) -> None:
    """Note that this token was used. The bucket forgets it when it has long expired.

    Creating the key is atomic on the server, so of several gateways that get the same token one goes on.
    Raises TokenError for one that was used before, and nats errors when the bus is gone.
    """
    try:
        await bus.tokens.create(token.fingerprint, b"")
    except KeyWrongLastSequenceError:
        raise TokenError("token_used", "the token was used before; ask for a new one") from None
