"""A frame's claims, verified: blocks, commit, signature, operations and the root before them. Pure.

Source: https://atproto.com/specs/sync#commit-validation. Whether a commit continues what is stored of its repo is
another question (``headwater.chain``).

Every refusal here is of one commit or ``#sync`` whose account is known, and means that the repo may have changed in
a way that we did not see: it is then desynchronized. BAD_SIGNATURE may only mean that the key is an old one: the
caller resolves it once more and verifies again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from firehose_backfill.inversion import check_written, leads_back
from firehose_backfill.rows import RefusedRecord, commit_rows
from headwater.blocks import FrameBlocks
from headwater.bus.messages import LiveCommit
from headwater.cid import cid_text
from headwater.commit import Commit, check_commit, parse_commit, verify_signature
from headwater.errors import InvalidInputError, Reason
from headwater.frame_car import read_frame_car
from headwater.frames import CommitFrame, SyncFrame
from headwater.keys import PublicKey


class VerifiedCommit(msgspec.Struct, frozen=True):
    """A commit as it goes on the bus, and the records that do not.

    The keys of ``refused`` records are among the commit's deletions, since no earlier version of theirs is in the
    repo any more. ``legacy``: the frame names no root before, so nothing says that its operations are all there were.
    """

    commit: LiveCommit
    refused: list[RefusedRecord]
    legacy: bool


@dataclass(frozen=True, slots=True)
class VerifiedSync:
    """The commit that a repo is at. ``data`` is the CID (base32) of the tree's root."""

    did: str
    rev: str
    data: str
    seq: int


def _everything(_: str) -> bool:
    return True


def verify_commit(
    frame: CommitFrame,
    key: PublicKey,
    now_us: int,
    max_row_bytes: int,
    wants: Callable[[str], bool] = _everything,
    at_us: int = 0,
) -> VerifiedCommit:
    """Verify a ``#commit`` under the account's ``key``, and decode its records.

    ``now_us`` and ``at_us``, the relay's time of the event, are microseconds since 1970; revs may be five minutes ahead
    of now. ``max_row_bytes`` is what one record may take on the bus. Records of collections that ``wants`` says no to
    are proven like all, and left out. Raises InvalidInputError: COMMIT_TOO_BIG for a frame that says it was too large
    to carry its blocks, COMMIT_CID, COMMIT_DID, COMMIT_REV, BAD_SIGNATURE, COMMIT_OPS, COMMIT_PREV_DATA, BLOCK_MISSING
    for a record that was written and is not there, and the reasons of CARs, commits and trees.
    """
    if frame.too_big:
        raise InvalidInputError(Reason.COMMIT_TOO_BIG, f"rev {frame.rev}")
    if frame.since is not None and frame.since >= frame.rev:
        raise InvalidInputError(Reason.COMMIT_REV, f"{frame.rev} since {frame.since}")
    root, blocks = _read_blocks(frame.blocks)
    if root != frame.commit:
        raise InvalidInputError(Reason.COMMIT_CID, f"{root.hex()} instead of {frame.commit.hex()}")
    commit = _signed_commit(blocks, root, frame, key, now_us)
    if frame.prev_data is None:
        check_written(blocks, commit.data, frame.ops)
    elif not leads_back(blocks, commit.data, frame.ops, frame.prev_data):
        raise InvalidInputError(Reason.COMMIT_PREV_DATA, f"undoing {len(frame.ops)} operations leads elsewhere")
    rows = commit_rows(blocks, [op for op in frame.ops if wants(op.collection)], now_us, max_row_bytes)
    live = LiveCommit(
        did=frame.did,
        rev=frame.rev,
        data=cid_text(commit.data),
        seq=frame.seq,
        at_us=at_us,
        since=frame.since,
        prev_data=None if frame.prev_data is None else cid_text(frame.prev_data),
        put=rows.put,
        delete=rows.delete,
    )
    return VerifiedCommit(live, rows.refused, legacy=frame.prev_data is None)


def verify_sync(frame: SyncFrame, key: PublicKey, now_us: int) -> VerifiedSync:
    """Verify a ``#sync`` under the account's ``key``; ``now_us`` as for ``verify_commit``.

    Raises InvalidInputError: COMMIT_DID, COMMIT_REV, BAD_SIGNATURE, and the reasons of CARs and commits.
    """
    root, blocks = _read_blocks(frame.blocks)
    commit = _signed_commit(blocks, root, frame, key, now_us)
    return VerifiedSync(frame.did, frame.rev, cid_text(commit.data), frame.seq)


def _read_blocks(car: bytes) -> tuple[bytes, FrameBlocks]:
    root, blocks = read_frame_car(car)
    return root, FrameBlocks(blocks)


def _signed_commit(
    blocks: FrameBlocks, root: bytes, frame: CommitFrame | SyncFrame, key: PublicKey, now_us: int
) -> Commit:
    """The commit, which has to be the frame's account's, of the frame's rev, and signed."""
    commit = parse_commit(blocks.get(root))
    check_commit(commit, frame.did, now_us)
    if commit.rev != frame.rev:
        raise InvalidInputError(Reason.COMMIT_REV, f"{commit.rev} in the commit, {frame.rev} in the frame")
    verify_signature(commit, key)
    return commit
