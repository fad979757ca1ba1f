"""The settings of firehose-backfill."""

from __future__ import annotations

from pydantic import Field, field_validator

from headwater.settings import NetworkSettings, ServiceSettings


class FirehoseSettings(ServiceSettings, NetworkSettings):
    """What the service needs to know.

    The history of all accounts is not in this version. It is a promise about the table's content, so asking for it
    is refused rather than ignored.
    """

    relay_urls: str = Field("", description="relays to follow, comma-separated")
    backfill_days: int = Field(0, ge=-1, le=3650, description="days of everybody's history; 0 is off, -1 is all")

    @field_validator("backfill_days")
    @classmethod
    def _no_history_yet(cls, value: int) -> int:
        if value:
            raise ValueError("the history of all accounts is not part of this version; set BACKFILL_DAYS=0")
        return value
