"""What good answers look like, for the API's own description. A test holds them to the models."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

_DID: Final = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
_JOB_ID: Final = "0006512bd5c1a0a1b2c3d4e5f6"
_AT_US: Final = 1_780_000_000_000_000
_POSTS: Final = {"app.bsky.feed.post": 3000}

ACCEPTED: Final = {"success": True, "job_id": _JOB_ID, "message": "A backfill of the last 30 days is queued."}
JOB: Final = {
    "job_id": _JOB_ID,
    "did": _DID,
    "actor": _DID,
    "handle": "alice.example",
    "lane": "user",
    "days": 30,
    "requested_by": "user",
    "state": "done",
    "attempt": 1,
    "cancel_requested": False,
    "requested_at_us": _AT_US,
    "started_at_us": _AT_US + 200_000,
    "updated_at_us": _AT_US + 1_900_000,
    "finished_at_us": _AT_US + 1_900_000,
    "pds": "https://pds.example",
    "rev": "3mmqebwgjmc2a",
    "bytes_fetched": 1_843_200,
    "bytes_total": None,
    "records_published": 3000,
    "records_total": 3000,
    "records_written": 3000,
    "records_deleted": 2,
    "unchanged": False,
    "rejected": {"record_too_large": 1},
    "collections": _POSTS,
    "reason": None,
    "detail": None,
    "next_try_at_us": None,
}
JOBS: Final = {"jobs": [JOB], "next": None}
STATS: Final = {
    "did": _DID,
    "records": 3000,
    "bytes": 540_000,
    "first_at_us": _AT_US - 86_400_000_000,
    "last_at_us": _AT_US,
    "collections": [
        {
            "collection": "app.bsky.feed.post",
            "records": 3000,
            "bytes": 540_000,
            "first_at_us": _AT_US - 86_400_000_000,
            "last_at_us": _AT_US,
        }
    ],
    "months": [{"month": "2026-05", "records": 3000}],
    "counted_at_us": _AT_US,
    "counting": False,
}
SETTINGS: Final = {
    "did": _DID,
    "handle": "alice.example",
    "pds": "https://pds.example",
    "status": "active",
    "rev": "3mmqebwgjmc2a",
    "last_backfill_at_us": _AT_US,
    "last_backfill_at": "2026-05-28T20:26:40Z",
    "last_backfill_days": 30,
    "sync_state": "synchronized",
    "desync_reason": None,
    "tracked_from_us": _AT_US - 86_400_000_000,
    "opted_out": False,
    "excluded": ["app.bsky.feed.like"],
    "deleting": False,
    "incomplete": False,
    "floor_rev": "3mmqebwgjmc2a",
    "may_be_recommended": True,
}
RECORDS: Final = {
    "records": [
        {
            "uri": f"at://{_DID}/app.bsky.feed.post/3mmqebwgjmc2a",
            "cid": "bafyreia3zwwmogntyn7zhsr6kyzvelma2l77axbldfja6jwcqbjq5e5tj4",
            "collection": "app.bsky.feed.post",
            "rkey": "3mmqebwgjmc2a",
            "rev": "3mmqebwgjmc2a",
            "created_at": "2026-05-28T20:26:40.000000Z",
            "record": {"$type": "app.bsky.feed.post", "text": "tea", "createdAt": "2026-05-28T20:26:40Z"},
        }
    ],
    "cursor": None,
}


def answers(example: object, status: HTTPStatus = HTTPStatus.OK) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route for OpenAPI: what a good answer looks like."""
    return {status.value: {"content": {"application/json": {"example": example}}}}
