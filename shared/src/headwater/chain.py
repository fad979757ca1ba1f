"""Whether a verified commit continues what is stored of its repo. Pure.

Source: https://atproto.com/specs/sync#commit-validation.

The root before (``prevData``) decides where both sides know it: it stands for every record of the repo, and undoing
the operations has proven it, whereas ``since`` is the host's word. So a commit whose ``prevData`` is the stored root
continues it even when ``since`` does not: nothing of the repo was missed. ``since`` decides for frames from before
sync v1.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from headwater.bus.messages import LiveCommit

EMPTY_TREE: Final = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
"""The root of a repo without records, as new accounts have it."""


class Verdict(StrEnum):
    """What becomes of an event."""

    APPLY = "apply"
    """It follows on what is stored."""
    DROP = "drop"
    """It is not newer than what is stored, or of an account that is not active."""
    DESYNC = "desync"
    """It is newer, and something between is missing: write what it brings, and file a resync."""


@dataclass(frozen=True, slots=True)
class StoredRepo:
    """What is stored of a repo: the rev and tree root (base32) of its newest commit, None before the first one."""

    rev: str | None
    data: str | None
    active: bool = True


def judge(stored: StoredRepo | None, commit: LiveCommit) -> Verdict:
    """What becomes of a commit, given what is stored of its repo (None: nothing at all)."""
    if stored is None:
        return Verdict.APPLY
    if not stored.active or (stored.rev is not None and commit.rev <= stored.rev):
        return Verdict.DROP
    if stored.rev is None:
        return Verdict.APPLY
    if stored.data is not None and commit.prev_data is not None:
        return Verdict.APPLY if commit.prev_data == stored.data else Verdict.DESYNC
    return Verdict.APPLY if commit.since == stored.rev else Verdict.DESYNC


def judge_sync(stored: StoredRepo | None, rev: str, data: str) -> Verdict:
    """What becomes of a ``#sync`` that says the repo is at ``rev`` with the tree root ``data`` (base32).

    All of a repo is missing of which nothing is stored, unless it is empty.
    """
    if stored is None or stored.rev is None:
        return Verdict.APPLY if data == EMPTY_TREE else Verdict.DESYNC
    if not stored.active or rev < stored.rev:
        return Verdict.DROP
    return Verdict.APPLY if data == stored.data else Verdict.DESYNC
