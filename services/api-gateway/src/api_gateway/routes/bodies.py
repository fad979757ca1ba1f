"""What comes in and goes out as JSON, beside ``headwater.bus.jobs.JobStatus``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from headwater.bus.jobs import MAX_DAYS, JobStatus
from headwater.syntax import is_nsid

Days = Annotated[
    int, Field(strict=True, ge=0, le=MAX_DAYS, description="how many days back; 0 is all time", examples=[30])
]
JobId = Annotated[str, Path(description="the id from the 202", examples=["0006512bd5c1a0a1b2c3d4e5f6"])]


def _nsid(text: str) -> str:
    if not is_nsid(text):
        raise ValueError("not an NSID")
    return text


Collection = Annotated[
    str,
    AfterValidator(_nsid),
    Field(max_length=317, description="a collection's NSID", examples=["app.bsky.feed.post"]),
]


class SettingsChange(BaseModel):
    """What a user can set."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"opted_out": True}]})

    opted_out: Annotated[bool, Field(strict=True, description="true: stop indexing me; false: start again")]


class CollectionChoice(BaseModel):
    """Whether one of a user's collections is kept out."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"collection": "app.bsky.feed.like", "excluded": True}]}
    )

    collection: Collection
    excluded: Annotated[bool, Field(strict=True)]


class DeleteData(BaseModel):
    """A deletion that its user has confirmed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"confirm": "alice.example"}]})

    confirm: Annotated[str, Field(max_length=2048, description="your handle or your DID")]


class OwnRecord(BaseModel):
    """A record as it is held. ``record`` is null where it is larger than a message of the bus."""

    uri: str = Field(description="its AT URI", examples=["at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3k"])
    cid: str
    collection: str
    rkey: str
    rev: str = Field(description="the commit that wrote it here, or confirmed it")
    created_at: datetime = Field(description="the effective time")
    record: dict[str, Any] | None


class RecordList(BaseModel):
    """A page of records, the newest first. ``cursor`` is for the next page, null on the last."""

    records: list[OwnRecord]
    cursor: str | None


class UserBackfill(BaseModel):
    """A user's request for the backfill of their own account."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"days": 30}, {"days": 0}]})

    days: Days


class OperatorBackfill(BaseModel):
    """An operator's request for any account's backfill."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"actor": "alice.example", "days": 0}]})

    actor: Annotated[str, Field(min_length=1, max_length=2048, description="a DID or a handle")]
    days: Days


class FirehoseBackfill(BaseModel):
    """An operator's request for everybody's history."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"days": 30}, {"days": -1}]})

    days: Annotated[
        int,
        Field(
            strict=True, ge=-1, le=MAX_DAYS, description="how many days back; -1 is everything, 0 none", examples=[30]
        ),
    ]


class Accepted(BaseModel):
    """202: the request is queued durably."""

    success: Literal[True] = True
    job_id: str
    message: str

    @classmethod
    def of(cls, job_id: str, days: int) -> Accepted:
        """What is said for a job of so many days."""
        scope = f"the last {days} days" if days else "all time"
        return cls(job_id=job_id, message=f"A backfill of {scope} is queued.")


class Jobs(BaseModel):
    """A list of jobs, newest first. ``next`` is the ``before`` of the next page, null on the last."""

    jobs: list[JobStatus]
    next: str | None = None
