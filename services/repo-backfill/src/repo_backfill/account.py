"""The account of a job: where its repo is, which key signs it, what it is called."""

from __future__ import annotations

import asyncio

from headwater.did_document import Identity
from headwater.errors import InvalidInputError, Reason, TransientError
from headwater.identity import IdentityResolver
from headwater.keys import PublicKey, parse_did_key

_HANDLE_SECONDS = 5.0


class Account:
    """A DID, resolved when something of it is needed. ``did_key`` is a key that the request brought along."""

    def __init__(self, resolver: IdentityResolver, did: str, did_key: str | None) -> None:
        self._resolver = resolver
        self._did = did
        self._did_key = did_key
        self._identity: Identity | None = None

    async def pds(self) -> str:
        """The origin of the account's PDS. Raises InvalidInputError(NO_PDS), and what resolving raises."""
        return _pds_of(await self._resolve())

    async def moved_from(self, pds: str) -> bool:
        """Whether the account's newest document names another PDS. Raises what ``pds`` raises."""
        return _pds_of(await self._resolve(refresh=True)) != pds

    async def key(self, refresh: bool) -> PublicKey:
        """The key that signs the repo. Raises InvalidInputError(NO_KEY), and what resolving raises."""
        if self._did_key is not None:
            return parse_did_key(self._did_key)
        key = (await self._resolve(refresh=refresh)).signing_key
        if key is None:
            raise InvalidInputError(Reason.NO_KEY, "the DID document names no usable #atproto key")
        return key

    async def handle(self) -> str | None:
        """The handle, verified both ways; None when it cannot be verified, now or at all."""
        try:
            async with asyncio.timeout(_HANDLE_SECONDS):
                identity = await self._resolve()
                return identity.handle if await self._resolver.verify_handle(identity) else None
        except (InvalidInputError, TransientError, TimeoutError):
            return None

    async def _resolve(self, *, refresh: bool = False) -> Identity:
        if self._identity is None or refresh:
            self._identity = await self._resolver.resolve_did(self._did, refresh=refresh)
        return self._identity


def _pds_of(identity: Identity) -> str:
    if identity.pds is None:
        raise InvalidInputError(Reason.NO_PDS, "the DID document names no usable #atproto_pds")
    return identity.pds
