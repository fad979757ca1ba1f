"""The settings of repo-backfill."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from headwater.settings import NetworkSettings, RecordSettings, ServiceSettings

_MIB = 1024 * 1024


class RepoBackfillSettings(ServiceSettings, NetworkSettings, RecordSettings):
    """What the service needs to know. The limits per host are for all workers together."""

    headwater_car_max_bytes: int = Field(4096 * _MIB, ge=1, description="a larger CAR is refused")
    headwater_car_memory_bytes: int = Field(112 * _MIB, ge=0, description="CARs in memory; what is above goes to disk")
    headwater_fetch_concurrency: int = Field(8, ge=1, le=256, description="repos fetched at once by one worker")
    headwater_fetch_seconds: float = Field(3600.0, gt=0, description="the longest that one CAR may take")
    headwater_fetch_min_rate: float = Field(1024.0, ge=0, description="bytes/s below which a host is too slow")
    headwater_fetch_tries: int = Field(10, ge=1, description="failed tries after which a job fails as unreachable")
    headwater_host_rate: float = Field(8.0, gt=0, description="requests/s that one host gets in the long run")
    headwater_host_burst: int = Field(500, ge=1, description="requests that one host may get at once")
    headwater_host_connections: int = Field(4, ge=1, description="requests under way at one host")

    @property
    def spool_directory(self) -> Path:
        """Where CARs go that do not fit into memory."""
        return self.headwater_home / "spool"
