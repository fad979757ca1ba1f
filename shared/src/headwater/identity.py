"""Who an account is: DIDs and handles resolved to PDS and signing key.

DID documents come from the PLC directory (did:plc) and from the DID's own host (did:web). Both are cached for
a while; whoever has reason to doubt what is cached (a signature that does not verify) asks with ``refresh``.
Source: https://atproto.com/specs/identity.
"""

from __future__ import annotations

import asyncio

from headwater import syntax
from headwater.did_document import Identity, is_plc, parse_did_document, web_document_url
from headwater.dns_lookup import NameLookup
from headwater.errors import InvalidInputError, Reason, TransientError
from headwater.handles import HandleResolver
from headwater.http import Answer, GuardedHttp
from headwater.identity_cache import IdentityCache

_MAX_DOCUMENT = 256 * 1024
_CACHE_BYTES = 32 * 1024 * 1024
# With these the directory speaks of the DID: found, malformed, unknown. With others, 403 say, it turns us away.
_OF_THE_DID = frozenset({200, 400, 404})


class IdentityResolver:
    """Resolves DIDs and handles, concurrently and with one lookup for many who ask for the same DID.

    ``plc_url`` and ``handle_resolver_url`` are the operator's: name them among the policy's trusted origins.
    ``cache_ttl`` is in seconds. Raises ValueError when the policy does not let one of the two be asked.
    """

    def __init__(
        self,
        http: GuardedHttp,
        plc_url: str,
        dns: NameLookup,
        *,
        handle_resolver_url: str | None = None,
        cache_ttl: float = 600.0,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        for url in (plc_url, handle_resolver_url):
            _require_allowed(http, url)
        self._http = http
        self._plc_url = plc_url.rstrip("/")
        self._handles = HandleResolver(http, dns, resolver_url=handle_resolver_url)
        self._cache = IdentityCache(ttl=cache_ttl, max_bytes=cache_bytes)
        self._lookups: dict[tuple[str, bool], asyncio.Task[Identity]] = {}

    async def resolve_did(self, did: str, *, refresh: bool = False) -> Identity:
        """The identity of a DID; ``refresh`` asks anew instead of trusting the cache.

        Raises InvalidInputError: SYNTAX, UNRESOLVABLE (no such DID, unknown method, useless document),
        ACCOUNT_DELETED (a tombstone in the PLC directory), HOST_FORBIDDEN. Raises TransientError when the
        directory or the host did not answer.
        """
        syntax.parse_did(did)
        known = None if refresh else self._cache.get(did)
        return known or await self._shared_lookup(did, refresh)

    async def resolve_handle(self, handle: str) -> str:
        """The DID that a handle names, before the DID's document is asked; errors as `HandleResolver.resolve`."""
        return await self._handles.resolve(handle)

    async def verify_handle(self, identity: Identity) -> bool:
        """Whether the handle that the document claims names this DID in turn; False without a handle.

        Raises TransientError when that could not be found out.
        """
        if identity.handle is None:
            return False
        try:
            return await self.resolve_handle(identity.handle) == identity.did
        except InvalidInputError:
            return False

    async def resolve_actor(self, actor: str) -> Identity:
        """The identity of a DID or handle, as a person may type it (``@Alice.example``).

        Raises what `resolve_did` and `resolve_handle` raise, and InvalidInputError(HANDLE_MISMATCH) when the
        handle's DID does not claim the handle.
        """
        name = syntax.parse_at_identifier(actor.strip().removeprefix("@"))
        if name.startswith("did:"):
            return await self.resolve_did(name)
        did = await self.resolve_handle(name)
        identity = await self.resolve_did(did)
        if identity.handle != name:
            # The cached document may be older than the handle.
            identity = await self.resolve_did(did, refresh=True)
        if identity.handle != name:
            raise InvalidInputError(Reason.HANDLE_MISMATCH, f"{did} does not claim the handle {name}")
        return identity

    async def _shared_lookup(self, did: str, refresh: bool) -> Identity:
        # A refresh does not join a lookup that may have begun before the key was rotated.
        key = (did, refresh)
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = asyncio.create_task(self._look_up(did, refresh))
            self._lookups[key] = lookup
            lookup.add_done_callback(lambda done: self._finished(key, done))
        # Whoever gives up waiting does not cancel it for the others.
        return await asyncio.shield(lookup)

    def _finished(self, key: tuple[str, bool], lookup: asyncio.Task[Identity]) -> None:
        del self._lookups[key]
        if not lookup.cancelled():
            lookup.exception()  # seen, also when everybody who asked has gone

    async def _look_up(self, did: str, refresh: bool) -> Identity:
        try:
            identity = await (self._from_plc(did) if is_plc(did) else self._from_host(did))
        except InvalidInputError:
            self._cache.discard(did)
            raise
        # What a refresh has put meanwhile is newer than a document that was asked for before it.
        if refresh or self._cache.get(did) is None:
            self._cache.put(identity)
        return identity

    async def _from_plc(self, did: str) -> Identity:
        try:
            answer = await self._http.get(f"{self._plc_url}/{did}", max_bytes=_MAX_DOCUMENT)
        except InvalidInputError as error:
            # The directory is the operator's choice: when it talks nonsense, it is out of order.
            raise TransientError(f"PLC directory: {error}") from error
        if answer.status == 410:
            raise InvalidInputError(Reason.ACCOUNT_DELETED, f"{did} is tombstoned")
        if answer.status not in _OF_THE_DID:
            raise TransientError(f"PLC directory: status {answer.status}")
        return _parse_answer(did, answer)

    async def _from_host(self, did: str) -> Identity:
        url = web_document_url(did, development=self._http.policy.private_addresses)
        try:
            answer = await self._http.get(url, max_bytes=_MAX_DOCUMENT)
        except InvalidInputError as error:
            if error.reason is Reason.RESPONSE_MALFORMED:
                raise InvalidInputError(Reason.UNRESOLVABLE, f"{did}: {error.detail}") from error
            raise
        return _parse_answer(did, answer)


def _require_allowed(http: GuardedHttp, url: str | None) -> None:
    try:
        if url is not None:
            http.policy.check_url(url)
    except InvalidInputError as error:
        raise ValueError(f"{url} is not allowed by the egress policy ({error.detail})") from error


def _parse_answer(did: str, answer: Answer) -> Identity:
    if answer.status != 200:
        raise InvalidInputError(Reason.UNRESOLVABLE, f"{did}: status {answer.status}")
    return parse_did_document(did, answer.body)
