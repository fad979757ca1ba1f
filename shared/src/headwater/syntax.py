"""Identifiers of the AT Protocol: parsed once, at the edge; inside they are plain strings.

``is_*`` answers, ``parse_*`` returns the identifier or raises InvalidInputError(SYNTAX).
Sources: https://atproto.com/specs/did, /handle, /nsid, /record-key, /at-uri-scheme, and
https://atproto.com/specs/lexicon#datetime. TIDs have a module of their own, ``headwater.tid``.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from headwater.errors import InvalidInputError, Reason

MAX_DID: Final = 2048
MAX_HANDLE: Final = 253
MAX_NSID: Final = 317
MAX_RKEY: Final = 512
MAX_AT_URI: Final = 8192
MAX_DATETIME: Final = 64

_LABEL: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_LETTER_LABEL: Final = r"[a-zA-Z](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DID: Final = re.compile(r"did:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._-]")
_HANDLE: Final = re.compile(rf"(?:{_LABEL}\.)+{_LETTER_LABEL}")
_NSID: Final = re.compile(rf"{_LETTER_LABEL}(?:\.{_LABEL})+\.[a-zA-Z][a-zA-Z0-9]{{0,62}}")
_RKEY: Final = re.compile(rf"(?!\.\.?\Z)[a-zA-Z0-9_~.:-]{{1,{MAX_RKEY}}}")
_CID_TEXT: Final = re.compile(r"(?!Qm)[a-zA-Z0-9+=]{8,256}")
_DATETIME: Final = re.compile(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](?:\.[0-9]{1,20})?"
    r"(?:Z|(?!-00:00)[+-][0-2][0-9]:[0-5][0-9])"
)

_match_rkey: Final = _RKEY.fullmatch
# A repo names few collections but has a key for every record, so an NSID is parsed once.
# The bound keeps a hostile repo with a collection per record from growing it.
_COLLECTION_CACHE_SIZE: Final = 4096
_collections: Final[dict[str, str]] = {}


class AtUri(NamedTuple):
    """The parts of ``at://authority/collection/rkey``; the authority is a DID or a handle."""

    authority: str
    collection: str | None
    rkey: str | None


def is_did(text: str) -> bool:
    """Whether the text is a DID by atproto's syntax, whatever its method."""
    return len(text) <= MAX_DID and _DID.fullmatch(text) is not None


def is_handle(text: str) -> bool:
    """Whether the text is a handle by syntax; reserved top-level domains are not looked at."""
    return len(text) <= MAX_HANDLE and _HANDLE.fullmatch(text) is not None


def is_nsid(text: str) -> bool:
    """Whether the text is an NSID (a collection's name)."""
    return len(text) <= MAX_NSID and _NSID.fullmatch(text) is not None


def is_rkey(text: str) -> bool:
    """Whether the text is a record key."""
    return _match_rkey(text) is not None


def is_cid_text(text: str) -> bool:
    """Whether the text looks like a CIDv1 in any multibase; what it encodes is not looked at."""
    return _CID_TEXT.fullmatch(text) is not None


def is_datetime(text: str) -> bool:
    """Whether the text has the datetime syntax of Lexicon: RFC 3339 and ISO 8601, zone required.

    Syntax only: February 30 and the year 0000 pass. ``headwater.record_time`` reads the value.
    """
    return len(text) <= MAX_DATETIME and _DATETIME.fullmatch(text) is not None


def parse_did(text: str) -> str:
    """The DID. Raises InvalidInputError(SYNTAX)."""
    if not is_did(text):
        raise _refused("DID", text)
    return text


def parse_handle(text: str) -> str:
    """The handle in lower case, as it is compared and stored. Raises InvalidInputError(SYNTAX)."""
    if not is_handle(text):
        raise _refused("handle", text)
    return text.lower()


def parse_at_identifier(text: str) -> str:
    """A DID, or a handle in lower case. Raises InvalidInputError(SYNTAX)."""
    if text.startswith("did:"):
        return parse_did(text)
    return parse_handle(text)


def parse_nsid(text: str) -> str:
    """The NSID. Raises InvalidInputError(SYNTAX)."""
    if not is_nsid(text):
        raise _refused("NSID", text)
    return text


def parse_rkey(text: str) -> str:
    """The record key. Raises InvalidInputError(SYNTAX)."""
    if not is_rkey(text):
        raise _refused("record key", text)
    return text


def parse_at_uri(text: str) -> AtUri:
    """The parts of an AT URI without query or fragment. Raises InvalidInputError(SYNTAX)."""
    if len(text) > MAX_AT_URI or not text.startswith("at://"):
        raise _refused("AT URI", text)
    authority, *path = text[5:].split("/")
    collection, rkey = (*path, None, None)[:2]
    if (
        len(path) > 2
        or not (is_did(authority) or is_handle(authority))
        or (collection is not None and not is_nsid(collection))
        or (rkey is not None and not is_rkey(rkey))
    ):
        raise _refused("AT URI", text)
    return AtUri(authority, collection, rkey)


def split_repo_key(key: bytes) -> tuple[str, str]:
    """The collection and the record key in an MST key (``collection/rkey``, ASCII).

    Called once for every record of every repo. Raises InvalidInputError(MST_KEY).
    Source: https://atproto.com/specs/repository#repo-data-structure-v3 (repo paths).
    """
    try:
        path = key.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidInputError(Reason.MST_KEY, f"not ASCII: {key[:80]!r}") from None
    collection, _, rkey = path.partition("/")
    known = _collections.get(collection) or _known_collection(collection)
    # Nearly all keys are TIDs: letters and digits, which need no regular expression.
    if not (rkey.isalnum() and len(rkey) <= MAX_RKEY) and _match_rkey(rkey) is None:
        raise InvalidInputError(Reason.MST_KEY, f"bad record key: {path[:120]!r}")
    return known, rkey


def _known_collection(collection: str) -> str:
    if not is_nsid(collection):
        raise InvalidInputError(Reason.MST_KEY, f"bad collection: {collection[:120]!r}")
    if len(_collections) >= _COLLECTION_CACHE_SIZE:
        _collections.clear()
    _collections[collection] = collection
    return collection


def _refused(what: str, text: str) -> InvalidInputError:
    return InvalidInputError(Reason.SYNTAX, f"not a {what}: {text[:80]!r}")
