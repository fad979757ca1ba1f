"""Every subject on the bus, and the partition that a DID belongs to.

Producers and the indexer's workers share ``partition``; changing it or ``PARTITIONS`` needs drained lanes.
"""

from __future__ import annotations

import zlib
from enum import StrEnum

PARTITIONS = 16

RECORDS_LIVE = "records.live"
RECORDS_REPLAY = "records.replay"
RECORDS_BACKFILL = "records.backfill"
REQUESTS = "requests"
DEAD_LETTERS = "dead"

# Request and reply, answered by any indexer worker.
REPO_STATES = "indexer.repo_states"
ACCOUNT_STATS = "indexer.account_stats"
ACCOUNT_SETTINGS = "indexer.account_settings"
CHANGE_PRIVACY = "indexer.change_privacy"
RECORDS_PAGE = "indexer.records_page"
FETCH_ANEW = "indexer.fetch_anew"
STANDINGS = "indexer.standings"
FOLLOWED = "indexer.followed"


class RequestLane(StrEnum):
    """Who asks for a repo. User requests overtake resyncs, resyncs overtake crawls."""

    USER = "user"
    RESYNC = "resync"
    CRAWL = "crawl"


def partition(did: str) -> int:
    """The partition of a DID, 0 to ``PARTITIONS - 1``: CRC-32 (IEEE 802.3) of its UTF-8 bytes."""
    return zlib.crc32(did.encode()) % PARTITIONS


def owned_partitions(worker_id: int, worker_count: int) -> tuple[int, ...]:
    """The partitions that one of ``worker_count`` workers owns; every partition has exactly one owner."""
    return tuple(p for p in range(PARTITIONS) if p % worker_count == worker_id)


def live_subject(did: str) -> str:
    """Where the live events of a DID go."""
    return f"{RECORDS_LIVE}.{partition(did)}"


def replay_subject(did: str) -> str:
    """Where past events of a DID go that a relay still holds; apart, so that they delay no live one."""
    return f"{RECORDS_REPLAY}.{partition(did)}"


def backfill_subject(did: str) -> str:
    """Where the snapshot of a DID goes."""
    return f"{RECORDS_BACKFILL}.{partition(did)}"


def did_token(did: str) -> str:
    """A DID as one token of a subject or key: ``.`` is ``/``, ``:`` is ``=``, ``%`` is ``==``.

    Unique for the methods that AT Protocol knows (did:plc, did:web), whose identifiers have no empty part.
    """
    return did.replace("%", "==").replace(":", "=").replace(".", "/")


def request_subject(lane: RequestLane, did: str) -> str:
    """Where a request for a DID's repo waits. The stream holds at most one message per subject."""
    return f"{REQUESTS}.{lane.value}.{did_token(did)}"


def dead_letter_subject(kind: str, reason: str) -> str:
    """Where what could not be used is kept, by kind (``record``, ``message``, ``frame``) and reason."""
    return f"{DEAD_LETTERS}.{kind}.{reason}"
