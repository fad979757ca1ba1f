"""DAG-CBOR and the JSON form of records, written apart from Headwater so that the two can disagree.

Records are plain Python values; a CID link is a `Link`, a byte string is `bytes`.
Source: https://atproto.com/specs/data-model
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import cbor2

DAG_CBOR_CID = b"\x01\x71\x12\x20"
RAW_CID = b"\x01\x55\x12\x20"
_LINK_TAG = 42


@dataclass(frozen=True, slots=True)
class Link:
    """A CID inside a record: 36 bytes, version 1, sha-256."""

    cid: bytes

    @property
    def text(self) -> str:
        return cid_text(self.cid)


def cid_of(block: bytes) -> bytes:
    """The binary CID of a DAG-CBOR block."""
    return DAG_CBOR_CID + sha256(block).digest()


def raw_cid(content: bytes) -> bytes:
    """The binary CID of a blob."""
    return RAW_CID + sha256(content).digest()


def cid_text(cid: bytes) -> str:
    """A binary CID in multibase base32, as people write it."""
    return "b" + base64.b32encode(cid).decode().rstrip("=").lower()


def cid_bytes(text: str) -> bytes:
    """The binary form of a base32 CID text."""
    return base64.b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8))


def encode(value: object) -> bytes:
    """A value as canonical DAG-CBOR, whatever the order of its maps."""
    return cbor2.dumps(_canonical(value), default=_default)


def encode_ordered(value: object) -> bytes:
    """As `encode`, four times faster, for values whose maps are in canonical order already."""
    return cbor2.dumps(value, default=_default)


def decode(block: bytes) -> Any:
    """The value of one of our own blocks."""
    return cbor2.loads(block, tag_hook=_untag)


def to_json(value: object, *, nul: str = "\ufffd") -> Any:
    """The JSON form of a record: links as `$link`, bytes as unpadded base64 in `$bytes`.

    `nul` stands for every U+0000, which Postgres cannot hold in jsonb.
    """
    if isinstance(value, str):
        return value.replace("\x00", nul)
    if isinstance(value, Mapping):
        return {key.replace("\x00", nul): to_json(item, nul=nul) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item, nul=nul) for item in value]
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode().rstrip("=")}
    if isinstance(value, Link):
        return {"$link": value.text}
    return value


def from_json(value: object) -> Any:
    """The record that a JSON form stands for."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$link"}:
        return Link(cid_bytes(value["$link"]))
    if value.keys() == {"$bytes"}:
        text: str = value["$bytes"]
        return base64.b64decode(text + "=" * (-len(text) % 4))
    return {key: from_json(item) for key, item in value.items()}


def _canonical(value: object) -> object:
    if isinstance(value, Mapping):
        # DRISL and DAG-CBOR order: shorter keys first, then bytewise.
        ordered = sorted(value.items(), key=lambda item: (len(item[0].encode()), item[0].encode()))
        return {key: _canonical(item) for key, item in ordered}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return value


def _default(encoder: Any, value: object) -> None:
    if not isinstance(value, Link):
        raise TypeError(f"not a value of the data model: {type(value).__name__}")
    encode_tag: Callable[[object], None] = encoder.encode
    encode_tag(cbor2.CBORTag(_LINK_TAG, b"\x00" + value.cid))


def _untag(tag: Any, _immutable: bool) -> object:
    return Link(tag.value[1:]) if tag.tag == _LINK_TAG else tag
