"""The indexer's settings."""

from __future__ import annotations

from pydantic import Field

from headwater.settings import ServiceSettings
from indexer.state import Track

_MIB = 1024 * 1024


class IndexerSettings(ServiceSettings):
    """What the indexer needs to know besides what every service does."""

    database_url: str = Field(
        "postgresql://postgres@127.0.0.1:5432/headwater", description="the Postgres database (16 or later)"
    )
    headwater_indexer_group_rows: int = Field(
        16_000, ge=1, le=200_000, description="about so many rows go into a transaction"
    )
    headwater_indexer_backfill_bytes: int = Field(
        16 * _MIB, ge=1 * _MIB, description="bytes of snapshots that a worker holds; more waits in the stream"
    )
    headwater_indexer_live_bytes: int = Field(
        8 * _MIB, ge=1 * _MIB, description="bytes of live commits that a worker holds; more waits in the stream"
    )
    headwater_indexer_replay_bytes: int = Field(
        4 * _MIB, ge=1 * _MIB, description="bytes of replayed commits that a worker holds; more waits in the stream"
    )
    track: Track = Field(
        Track.ALL, description="whose live events are followed, if not before: all, backfilled (asked for), or none"
    )
    headwater_tombstone_days: float = Field(
        7.0, ge=1.0, le=3650.0, description="how long deletes are remembered; longer than any message can be late"
    )
    headwater_job_days: float = Field(
        90.0, ge=1.0, le=3650.0, description="how long ended jobs are remembered in Postgres"
    )
