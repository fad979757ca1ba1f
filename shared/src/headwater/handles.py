"""From a handle to a DID: DNS, then HTTPS, as https://atproto.com/specs/handle has it.

The result is a claim of whoever owns the name. It counts once the DID's document claims the handle too;
`headwater.identity` checks that.
"""

from __future__ import annotations

from urllib.parse import quote

import orjson

from headwater import syntax
from headwater.dns_lookup import NameLookup
from headwater.errors import InvalidInputError, Reason, TransientError
from headwater.http import GuardedHttp

# Top-level domains that can never hold a real handle. `.test` is for development and `.localhost` never
# resolves publicly; both can still be answered by the operator's own resolver.
_RESERVED = frozenset({"alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion", "test"})
_MAX_BYTES = 16 * 1024


class HandleResolver:
    """Resolves handles.

    ``resolver_url`` is the origin of a PDS or entryway of the operator's choice: it is asked first
    (com.atproto.identity.resolveHandle), and where names like ``alice.test`` exist it is the only one who knows.
    """

    def __init__(self, http: GuardedHttp, lookup: NameLookup, *, resolver_url: str | None = None) -> None:
        self._http = http
        self._lookup = lookup
        self._resolver_url = resolver_url.rstrip("/") if resolver_url else None

    async def resolve(self, handle: str) -> str:
        """The DID that a handle names.

        Raises InvalidInputError: SYNTAX, UNRESOLVABLE (nobody knows the handle, or DNS names several DIDs),
        HOST_FORBIDDEN (the handle's host is private). Raises TransientError when somebody who might know did
        not answer and nobody else knew.
        """
        handle = syntax.parse_handle(handle)
        trouble: TransientError | None = None
        sources = [self._ask_resolver] if self._resolver_url else []
        if handle.rpartition(".")[2] not in _RESERVED:
            sources += [self._ask_dns, self._ask_host]
        for source in sources:
            try:
                did = await source(handle)
            except TransientError as error:
                trouble = trouble or error
                continue
            if did is not None:
                return did
        if trouble is not None:
            raise trouble
        raise InvalidInputError(Reason.UNRESOLVABLE, f"the handle {handle} names no account")

    async def _ask_resolver(self, handle: str) -> str | None:
        url = f"{self._resolver_url}/xrpc/com.atproto.identity.resolveHandle?handle={quote(handle)}"
        answer = await self._http.get(url, max_bytes=_MAX_BYTES)
        if answer.status != 200:
            return None
        try:
            value: object = orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            raise TransientError("the handle resolver did not answer in JSON") from error
        did = value.get("did") if isinstance(value, dict) else None
        return _did(did) if isinstance(did, str) else None

    async def _ask_dns(self, handle: str) -> str | None:
        records = await self._lookup.txt(f"_atproto.{handle}")
        claims = {record.removeprefix("did=") for record in records if record.startswith("did=")}
        if len(claims) > 1:
            raise InvalidInputError(Reason.UNRESOLVABLE, f"DNS names {len(claims)} DIDs for handle {handle}")
        return _did(claims.pop()) if claims else None

    async def _ask_host(self, handle: str) -> str | None:
        try:
            answer = await self._http.get(f"https://{handle}/.well-known/atproto-did", max_bytes=_MAX_BYTES)
        except InvalidInputError as error:
            if error.reason is Reason.RESPONSE_MALFORMED:  # a web page, longer than any DID
                return None
            raise
        if not 200 <= answer.status < 300:
            return None
        return _did(answer.body.decode("utf-8", "replace"))


def _did(text: str) -> str | None:
    did = text.strip()
    return did if syntax.is_did(did) else None
