"""DID documents: what atproto needs of one, read without trust.

Sources: https://atproto.com/specs/did (DID documents, blessed methods), https://www.w3.org/TR/did-core/,
https://w3c-ccg.github.io/did-method-web/, https://web.plc.directory/spec/v0.1/did-plc.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from headwater import keys, syntax
from headwater.egress import parse_http_url
from headwater.errors import InvalidInputError, Reason

_PLC = re.compile(r"did:plc:[a-z2-7]{24}")
_WEB = re.compile(r"did:web:([a-zA-Z0-9._-]{1,253})(?:%3[Aa]([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Identity:
    """An account as its DID document describes it.

    ``handle`` is what the document claims, in lower case, verified by nobody yet. ``pds`` is an origin without
    a slash at the end, checked for form only: the HTTP client's policy decides whether it may be reached.
    What the document lacks, or says in a form that cannot be used, is None. ``document`` is its JSON as received.
    """

    did: str
    handle: str | None
    pds: str | None
    signing_key: keys.PublicKey | None
    document: bytes = field(repr=False)


def is_plc(did: str) -> bool:
    """Whether a DID is a did:plc, to the letter."""
    return _PLC.fullmatch(did) is not None


def web_document_url(did: str, *, development: bool = False) -> str:
    """Where the document of a did:web lies: ``https://<host>/.well-known/did.json``.

    atproto allows did:web for whole hosts only: no paths, and a port (``%3A2583``) in development alone, where
    localhost speaks http. Raises InvalidInputError(UNRESOLVABLE) for any other DID.
    """
    match = _WEB.fullmatch(did)
    if match is None or (match[2] and not development):
        raise InvalidInputError(Reason.UNRESOLVABLE, f"neither a did:plc nor the did:web of a host: {did[:120]}")
    host, port = match[1], f":{match[2]}" if match[2] else ""
    scheme = "http" if development and host == "localhost" else "https"
    return f"{scheme}://{host}{port}/.well-known/did.json"


def parse_did_document(did: str, body: bytes) -> Identity:
    """The identity in a DID document.

    Raises InvalidInputError(UNRESOLVABLE) when the body is no JSON object or is the document of another DID.
    """
    try:
        document: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(Reason.UNRESOLVABLE, f"the document of {did} is not JSON") from error
    if not isinstance(document, dict):
        raise InvalidInputError(Reason.UNRESOLVABLE, f"the document of {did} is not an object")
    if document.get("id") != did:
        raise InvalidInputError(
            Reason.UNRESOLVABLE, f"the document of {did} is that of {str(document.get('id'))[:120]}"
        )
    return Identity(did, _handle(document), _pds(did, document), _signing_key(did, document), body)


def _handle(document: dict[str, object]) -> str | None:
    """The first at:// name counts, even when a later one would be valid (https://atproto.com/specs/handle)."""
    names = document.get("alsoKnownAs")
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str) and name.startswith("at://"):
            handle = name.removeprefix("at://")
            return syntax.parse_handle(handle) if syntax.is_handle(handle) else None
    return None


def _pds(did: str, document: dict[str, object]) -> str | None:
    for service in _entries(did, document, "service", "#atproto_pds"):
        endpoint = service.get("serviceEndpoint")
        if service.get("type") == "AtprotoPersonalDataServer" and isinstance(endpoint, str):
            return _origin(endpoint)
    return None


def _origin(endpoint: str) -> str | None:
    try:
        url = parse_http_url(endpoint)
    except InvalidInputError:
        return None
    if url.path != "/" or url.query_string:
        return None
    return str(url.origin())


def _signing_key(did: str, document: dict[str, object]) -> keys.PublicKey | None:
    for method in _entries(did, document, "verificationMethod", "#atproto"):
        kind, multibase = method.get("type"), method.get("publicKeyMultibase")
        if method.get("controller", did) != did or not isinstance(kind, str) or not isinstance(multibase, str):
            return None
        try:
            return keys.parse_verification_method(kind, multibase)
        except InvalidInputError:
            return None
    return None


def _entries(did: str, document: dict[str, object], name: str, fragment: str) -> Iterator[dict[str, object]]:
    """The objects of a list in the document whose id is the fragment, relative or absolute."""
    entries = document.get(name)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("id") in (fragment, did + fragment):
            yield entry
