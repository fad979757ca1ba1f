"""The kinds of frames that com.atproto.sync.subscribeRepos sends, as values. ``headwater.frame_reader`` makes them.

Source: the lexicon com.atproto.sync.subscribeRepos.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Action = Literal["create", "update", "delete"]


class Op(msgspec.Struct, frozen=True, gc=False):
    """What a commit did to one record. CIDs are of dag-cbor blocks, ``key`` is the record's key in the MST.

    ``cid`` is the record's, None for a delete; ``prev`` is that of the record before, None for a create and in frames
    from before sync v1.1.
    """

    action: Action
    collection: str
    rkey: str
    key: bytes
    cid: bytes | None
    prev: bytes | None


class CommitFrame(msgspec.Struct, frozen=True, gc=False):
    """``#commit``: an account's repo has changed. Nothing in it is verified yet.

    ``blocks`` is a CAR with the commit, the tree nodes that prove the operations, and the records. ``prev_data`` is
    the CID of the tree's root before, None in frames from before sync v1.1 and for a repo's first commit.
    """

    seq: int
    did: str
    time: str
    rev: str
    since: str | None
    commit: bytes
    prev_data: bytes | None
    blocks: bytes
    ops: tuple[Op, ...]
    too_big: bool


class SyncFrame(msgspec.Struct, frozen=True, gc=False):
    """``#sync``: an account's repo is now at this commit, whatever it was before. ``blocks`` is a CAR of the commit."""

    seq: int
    did: str
    time: str
    rev: str
    blocks: bytes


class IdentityFrame(msgspec.Struct, frozen=True, gc=False):
    """``#identity``: an account's handle or DID document may have changed. ``handle`` is a hint, in lower case."""

    seq: int
    did: str
    time: str
    handle: str | None


class AccountFrame(msgspec.Struct, frozen=True, gc=False):
    """``#account``: an account's status at its host. ``status`` says why it is not active, in the host's words."""

    seq: int
    did: str
    time: str
    active: bool
    status: str | None


class InfoFrame(msgspec.Struct, frozen=True, gc=False):
    """``#info``: something about the stream, such as OutdatedCursor."""

    name: str
    message: str | None


class ErrorFrame(msgspec.Struct, frozen=True, gc=False):
    """The stream ends here, and why: FutureCursor, ConsumerTooSlow."""

    error: str
    message: str | None


class UnknownFrame(msgspec.Struct, frozen=True, gc=False):
    """A kind or operation that this version does not know. ``seq`` is there where the body has a valid one."""

    kind: str
    seq: int | None


AccountEvent = CommitFrame | SyncFrame | IdentityFrame | AccountFrame
Frame = AccountEvent | InfoFrame | ErrorFrame | UnknownFrame
