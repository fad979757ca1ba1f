"""What comes in and goes out as JSON, beside ``headwater.bus.jobs.JobStatus``."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from headwater.bus.jobs import JobStatus

Days = Annotated[int, Field(strict=True, ge=0, le=3650, description="how many days back; 0 is all time", examples=[30])]
JobId = Annotated[str, Path(description="the id from the 202", examples=["0006512bd5c1a0a1b2c3d4e5f6"])]


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
        Field(strict=True, ge=-1, le=3650, description="how many days back; -1 is everything, 0 none", examples=[30]),
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
