"""The settings of firehose-backfill."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from firehose_backfill.relay_url import relay_origins
from firehose_backfill.selection import Selection, split_list
from headwater.bus.jobs import MAX_DAYS
from headwater.settings import NetworkSettings, RecordSettings, ServiceSettings


class FirehoseSettings(ServiceSettings, NetworkSettings, RecordSettings):
    """What the service needs to know.

    History without a relay is refused rather than ignored: it is a promise about the table's content.
    """

    relay_urls: str = Field("", description="relays to follow, comma-separated; the first one that works is followed")
    exclude_dids: str = Field("", description="accounts to leave alone, comma-separated DIDs")
    headwater_firehose_bytes: int = Field(
        32 * 1024 * 1024, ge=1, description="bytes of frames under way; above, the relay waits"
    )
    headwater_firehose_keys: int = Field(100_000, ge=1, description="signing keys of accounts held in memory")
    headwater_crawl_waiting: int = Field(
        2_000, ge=1, description="repos of the history that may wait for repo-backfill; above, the crawl waits"
    )
    backfill_days: int = Field(0, ge=-1, le=MAX_DAYS, description="days of everybody's history; 0 is off, -1 is all")

    @field_validator("relay_urls")
    @classmethod
    def _are_relays(cls, value: str) -> str:
        relay_origins(value)
        return value

    @model_validator(mode="after")
    def _selects(self) -> Self:
        self.selection()
        return self

    @model_validator(mode="after")
    def _has_a_relay(self) -> Self:
        if self.backfill_days and not self.relay_urls:
            raise ValueError(f"BACKFILL_DAYS={self.backfill_days} needs a relay in RELAY_URLS")
        return self

    def selection(self) -> Selection:
        """Which accounts and records this worker takes."""
        excluded = frozenset(split_list(self.exclude_dids))
        return Selection(self.worker_id, self.worker_count, self.collection_filter, excluded)
