"""Content identifiers: 36 bytes in blocks and on the wire, base32 text for people, JSON and tables.

atproto allows one hash and two codecs (https://atproto.com/specs/data-model#link-and-cid-formats):
CIDv1, sha2-256, dag-cbor for records, tree nodes and commits, raw for blobs. Everything else, CIDv0,
identity and sha2-512 among it, is refused here, so that no other module needs to look at a CID's prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256

import libipld

from headwater.errors import InvalidInputError, Reason

CID_LENGTH = 36
PREFIX_LENGTH = 4
# version 1, codec, multihash code sha2-256, digest length 32
DAG_CBOR_PREFIX = b"\x01\x71\x12\x20"
RAW_PREFIX = b"\x01\x55\x12\x20"
PREFIXES = frozenset((DAG_CBOR_PREFIX, RAW_PREFIX))

_TEXT = re.compile(r"b[a-z2-7]{58}")
_BASE32_TO_PYTHON = str.maketrans("abcdefghijklmnopqrstuvwxyz234567", "0123456789abcdefghijklmnopqrstuv")
_PADDING_BITS = 58 * 5 - CID_LENGTH * 8


def check_cid(cid: bytes) -> bytes:
    """Give back ``cid`` when it is one that atproto allows.

    Raises InvalidInputError(CID_UNSUPPORTED).
    """
    if len(cid) != CID_LENGTH or cid[:PREFIX_LENGTH] not in PREFIXES:
        raise InvalidInputError(Reason.CID_UNSUPPORTED, cid[:CID_LENGTH].hex())
    return cid


def check_dag_cbor_cid(cid: bytes) -> bytes:
    """Give back ``cid`` when it names a dag-cbor block, as roots, tree nodes and records do.

    Raises InvalidInputError(CID_UNSUPPORTED).
    """
    if len(cid) != CID_LENGTH or cid[:PREFIX_LENGTH] != DAG_CBOR_PREFIX:
        raise InvalidInputError(Reason.CID_UNSUPPORTED, cid[:CID_LENGTH].hex())
    return cid


def cid_of(block: bytes) -> bytes:
    """The dag-cbor CID of a block."""
    return DAG_CBOR_PREFIX + sha256(block).digest()


def cid_text(cid: bytes) -> str:
    """The base32 text (``bafyrei…``, 59 characters) of a CID that has been checked."""
    return libipld.encode_cid(cid)


def cid_texts(cids: Iterable[bytes]) -> list[str]:
    """``cid_text`` of many."""
    return list(map(libipld.encode_cid, cids))


def parse_cid_text(text: str) -> bytes:
    """The 36 bytes of a CID's base32 text; exactly one text is accepted for each CID.

    Raises InvalidInputError(CID_UNSUPPORTED).
    """
    if not _TEXT.fullmatch(text):
        raise InvalidInputError(Reason.CID_UNSUPPORTED, text[:80])
    number = int(text[1:].translate(_BASE32_TO_PYTHON), 32)
    if number & ((1 << _PADDING_BITS) - 1):
        raise InvalidInputError(Reason.CID_UNSUPPORTED, text)
    return check_cid((number >> _PADDING_BITS).to_bytes(CID_LENGTH, "big"))
