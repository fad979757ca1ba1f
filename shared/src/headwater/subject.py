"""Whom or what a record points at: the like's, repost's or follow's subject, the reply's parent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# An entry of a Postgres b-tree index holds at most 2,704 bytes.
MAX_SUBJECT_BYTES: Final = 2_000
_SURELY_SHORT: Final = MAX_SUBJECT_BYTES // 4


def subject_of(record: Mapping[str, Any]) -> str | None:
    """The DID or URI in ``subject``, ``subject.uri`` or ``reply.parent.uri``, for whatever collection.

    None when there is none, and when it cannot be an indexed text: not a string, empty, longer than
    MAX_SUBJECT_BYTES in UTF-8, or with U+0000. Source: the lexicons of app.bsky.feed and app.bsky.graph, whose
    shape others have taken over.
    """
    subject = record.get("subject")
    if subject is None:
        reply = record.get("reply")
        subject = reply.get("parent") if isinstance(reply, dict) else None
    if isinstance(subject, dict):
        subject = subject.get("uri")
    if not isinstance(subject, str) or not subject or "\0" in subject:
        return None
    return subject if len(subject) <= _SURELY_SHORT or len(subject.encode()) <= MAX_SUBJECT_BYTES else None
