"""Users by service-auth token: the signature is held against the key in the account's DID document."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import Final

from api_gateway.auth.account import Account
from api_gateway.auth.methods import Method
from api_gateway.auth.replay import spend
from api_gateway.auth.service_token import ServiceToken, TokenError, check_claims, parse_token
from api_gateway.bus import Bus
from api_gateway.problems import unauthorized
from headwater.errors import InvalidInputError
from headwater.identity import IdentityResolver

REFRESH_SECONDS: Final = 10.0
"""A DID document is read again for a signature that fails at most this often: bad tokens cost us, not the network."""
_MAX_REFRESHED: Final = 10_000
_MAX_LOOKUPS: Final = 32


class ServiceAuth:
    """Authenticates accounts by the token that their PDS signed (``com.atproto.server.getServiceAuth``)."""

    def __init__(self, did: str, resolver: IdentityResolver, bus: Bus) -> None:
        self._did = did
        self._resolver = resolver
        self._bus = bus
        self._refreshed: OrderedDict[str, float] = OrderedDict()
        # Apart, as hosts of did:web can be as slow as a stranger wants them to be.
        self._plc_lookups = asyncio.Semaphore(_MAX_LOOKUPS)
        self._web_lookups = asyncio.Semaphore(_MAX_LOOKUPS)

    async def authenticate(self, credentials: str, method: Method) -> Account:
        """The account whose token this is. Raises Problem 401, TransientError (its document cannot be read now)."""
        try:
            token = parse_token(credentials)
            check_claims(token, audience=self._did, method=method, now=time.time())
            await self._check_signature(token)
            if method.changes:
                await spend(self._bus, token)
        except TokenError as error:
            raise unauthorized(error.reason, error.detail) from error
        return Account(token.did)

    async def _check_signature(self, token: ServiceToken) -> None:
        if await self._signed(token, refresh=False):
            return
        # Keys rotate: what we remember of the document may be old.
        if self._may_refresh(token.did) and await self._signed(token, refresh=True):
            return
        raise TokenError("token_signature", "the token is not signed by the account's key")

    async def _signed(self, token: ServiceToken, *, refresh: bool) -> bool:
        lookups = self._web_lookups if token.did.startswith("did:web:") else self._plc_lookups
        try:
            async with lookups:
                identity = await self._resolver.resolve_did(token.did, refresh=refresh)
        except InvalidInputError as error:
            raise TokenError("token_issuer", f"{token.did}: {error.reason.value}") from error
        key = identity.signing_key
        return key is not None and key.curve is token.curve and key.verify(token.signed, token.signature)

    def _may_refresh(self, did: str) -> bool:
        now = time.monotonic()
        if now - self._refreshed.get(did, -REFRESH_SECONDS) < REFRESH_SECONDS:
            return False
        self._refreshed[did] = now
        self._refreshed.move_to_end(did)
        if len(self._refreshed) > _MAX_REFRESHED:
            self._refreshed.popitem(last=False)
        return True
