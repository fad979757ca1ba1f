"""Commits: the signed root of a repository (https://atproto.com/specs/repository#commit-objects).

Policy, where the specification leaves room:
- repositories are version 3; version 2 left the network in 2023 and is refused;
- ``prev`` has to be there, null or a CID;
- fields beyond the known ones are kept in what the signature is checked over, and otherwise ignored.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from headwater.cid import DAG_CBOR_PREFIX, check_dag_cbor_cid
from headwater.dagcbor import Link, decode_map, encode
from headwater.errors import InvalidInputError, Reason
from headwater.keys import PublicKey
from headwater.tid import is_tid, tid_microseconds

REPO_VERSION: Final = 3
MAX_REV_AHEAD_US: Final = 5 * 60 * 1_000_000

# The one encoding of a commit with the known fields, a null prev and a DID of ASCII, as nearly all are. Behind the DID
# everything has its fixed length, so it matches in one way only. What is before and behind sig is what sig is over.
_match_usual: Final = re.compile(
    rb"\xa6(\x63did(?:([\x60-\x77])|\x78([\x18-\xff]))([!-~]+)\x63rev\x6d([!-~]{13}))\x63sig\x58\x40(.{64})"
    rb"(\x64data\xd8\x2a\x58\x25\x00\x01\x71\x12\x20(.{32})\x64prev\xf6\x67version\x03)",
    re.DOTALL,
).fullmatch
_MAP_OF_FIVE: Final = b"\xa5"
_SHORT_TEXT: Final = 0x60


class Commit(msgspec.Struct, frozen=True, gc=False):
    """A commit as it was signed. ``data`` is the CID of the MST's root, ``unsigned`` what ``sig`` is over."""

    did: str
    version: int
    data: bytes
    rev: str
    prev: bytes | None
    sig: bytes
    unsigned: bytes


def parse_commit(block: bytes) -> Commit:
    """Parse a commit block; nothing is yet said about whose it is or who signed it.

    Raises InvalidInputError(COMMIT_MALFORMED), or CID_UNSUPPORTED for a link that atproto does not allow.
    """
    return _usual(block) or _any(block)


def _usual(block: bytes) -> Commit | None:
    """A commit of the usual form, several times as fast; None for any other."""
    match = _match_usual(block)
    if match is None:
        return None
    before, short, long, did, rev, sig, behind, data = match.groups()
    if len(did) != (short[0] - _SHORT_TEXT if short else long[0]):
        return None
    return Commit(
        did=did.decode(),
        version=REPO_VERSION,
        data=DAG_CBOR_PREFIX + data,
        rev=rev.decode(),
        prev=None,
        sig=sig,
        unsigned=_MAP_OF_FIVE + before + behind,
    )


def _any(block: bytes) -> Commit:
    fields = decode_map(block, Reason.COMMIT_MALFORMED)
    version = fields.get("version")
    if type(version) is not int or version != REPO_VERSION:
        raise InvalidInputError(Reason.COMMIT_MALFORMED, f"version {str(version)[:20]}")
    did, rev, sig, data = fields.get("did"), fields.get("rev"), fields.get("sig"), fields.get("data")
    if not isinstance(did, str) or not isinstance(rev, str):
        raise InvalidInputError(Reason.COMMIT_MALFORMED, "did and rev have to be text")
    if not isinstance(sig, bytes):
        raise InvalidInputError(Reason.COMMIT_MALFORMED, "sig has to be bytes")
    if not isinstance(data, Link):
        raise InvalidInputError(Reason.COMMIT_MALFORMED, "data has to be a link")
    if "prev" not in fields or not isinstance(prev := fields["prev"], Link | None):
        raise InvalidInputError(Reason.COMMIT_MALFORMED, "prev has to be null or a link")
    return Commit(
        did=did,
        version=version,
        data=check_dag_cbor_cid(data.cid),
        rev=rev,
        prev=None if prev is None else check_dag_cbor_cid(prev.cid),
        sig=sig,
        unsigned=encode({name: value for name, value in fields.items() if name != "sig"}),
    )


def check_commit(commit: Commit, did: str, now_us: int) -> None:
    """Check that a commit is ``did``'s and that its rev is a TID not later than five minutes from ``now_us``.

    A rev from the far future would win over every later write, so it is refused. ``now_us`` is microseconds since
    the epoch. Raises InvalidInputError(COMMIT_DID | COMMIT_REV).
    """
    if commit.did != did:
        raise InvalidInputError(Reason.COMMIT_DID, f"{commit.did[:100]!r} instead of {did}")
    if not is_tid(commit.rev):
        raise InvalidInputError(Reason.COMMIT_REV, f"{commit.rev[:40]!r} is no TID")
    if tid_microseconds(commit.rev) > now_us + MAX_REV_AHEAD_US:
        raise InvalidInputError(Reason.COMMIT_REV, f"{commit.rev} is in the future")


def verify_signature(commit: Commit, key: PublicKey) -> None:
    """Check a commit's signature.

    Raises InvalidInputError(BAD_SIGNATURE): the caller resolves the key once more and tries again, for keys rotate.
    """
    if not key.verify(commit.unsigned, commit.sig):
        raise InvalidInputError(Reason.BAD_SIGNATURE, f"rev {commit.rev[:20]!r} is not signed by {key.curve} key")
