"""The settings that several services share, read from the environment and from ``.env``.

Each service's own class derives from ``ServiceSettings``. Names that start with ``HEADWATER_`` and that no class
knows are refused at start, so that a misspelt setting is not silently ignored.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self, TypeVar

from dotenv import dotenv_values
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from headwater.collection_filter import CollectionFilter
from headwater.egress import parse_http_url
from headwater.errors import InvalidInputError

EXIT_CONFIG = 78
"""The exit code of a settings error (EX_CONFIG of sysexits.h): restarting will not help."""

HEADWATER_VARIABLES = frozenset(
    {
        "HEADWATER_HOME",
        "HEADWATER_LOG_LEVEL",
        "HEADWATER_LOG_STYLE",
        "HEADWATER_HEALTH_HOST",
        "HEADWATER_CAR_MAX_BYTES",
        "HEADWATER_COOLDOWN_SECONDS",
        "HEADWATER_CRAWL_WAITING",
        "HEADWATER_CAR_MEMORY_BYTES",
        "HEADWATER_FETCH_CONCURRENCY",
        "HEADWATER_FETCH_SECONDS",
        "HEADWATER_FETCH_MIN_RATE",
        "HEADWATER_FETCH_TRIES",
        "HEADWATER_HOST_RATE",
        "HEADWATER_HOST_BURST",
        "HEADWATER_HOST_CONNECTIONS",
        "HEADWATER_INDEXER_GROUP_ROWS",
        "HEADWATER_INDEXER_BACKFILL_BYTES",
        "HEADWATER_INDEXER_LIVE_BYTES",
        "HEADWATER_INDEXER_REPLAY_BYTES",
        "HEADWATER_FIREHOSE_BYTES",
        "HEADWATER_FIREHOSE_KEYS",
        "HEADWATER_TOMBSTONE_DAYS",
        "HEADWATER_JOB_DAYS",
    }
)
"""Every ``HEADWATER_*`` variable that some service or command knows; a test holds the classes against it."""


_CONFIG = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True)


class ServiceSettings(BaseSettings):
    """What every service needs to know. Field names in upper case are the variables' names."""

    model_config = _CONFIG

    nats_url: str = Field("nats://127.0.0.1:4222", description="the NATS server, with JetStream")
    worker_id: int = Field(0, ge=0, le=1023, description="which of the service's workers this process is, from 0")
    worker_count: int = Field(1, ge=1, le=1024, description="how many workers the service has")
    health_port: int = Field(0, ge=0, le=65535, description="port of /healthz and /metrics; 0 takes a free one")
    headwater_home: Path = Field(Path(".headwater"), description="where state on disk lives")
    headwater_log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least log level")
    headwater_log_style: Literal["text", "json"] = Field("text", description="log lines for people or for machines")
    headwater_health_host: str = Field("127.0.0.1", description="address that /healthz and /metrics listen on")

    @model_validator(mode="after")
    def _worker_exists(self) -> Self:
        if self.worker_id >= self.worker_count:
            raise ValueError(f"WORKER_ID={self.worker_id} needs WORKER_COUNT above it, not {self.worker_count}")
        return self


class NetworkSettings(BaseSettings):
    """What the services that speak to the network share; mixed into their settings classes."""

    model_config = _CONFIG  # pydantic takes the last base's, and BaseSettings' own reads no .env

    plc_url: str = Field("https://plc.directory", description="the PLC directory")
    handle_resolver_url: str | None = Field(None, description="a PDS or entryway asked for handles before DNS")
    allow_private_hosts: bool = Field(
        False, description="development only: loopback and private addresses, http and any port are allowed"
    )

    @field_validator("plc_url", "handle_resolver_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parse_http_url(value)
            except InvalidInputError as error:
                raise ValueError(f"{value!r} is not an http or https URL") from error
        return value


class RecordSettings(BaseSettings):
    """Which records are wanted, for the services that read repos; mixed into their settings classes."""

    model_config = _CONFIG

    collections: str = Field("*", description="the collections that are wanted, comma-separated: NSIDs, or app.bsky.*")

    @field_validator("collections")
    @classmethod
    def _is_filter(cls, value: str) -> str:
        try:
            CollectionFilter.parse(value)
        except InvalidInputError as error:
            raise ValueError(error.detail) from error
        return value

    @property
    def collection_filter(self) -> CollectionFilter:
        """``collections`` as a filter."""
        return CollectionFilter.parse(self.collections)


S = TypeVar("S", bound=BaseSettings)


def unknown_variables(names: Iterable[str]) -> list[str]:
    """The ``HEADWATER_*`` names among ``names`` that nobody knows, sorted."""
    return sorted(n for n in names if n.upper().startswith("HEADWATER_") and n.upper() not in HEADWATER_VARIABLES)


def load_settings(cls: type[S]) -> S:
    """The settings of one service; on an error each wrong variable is said by name and the process exits with 78."""
    problems = [f"{name}: unknown setting" for name in unknown_variables({*os.environ, *dotenv_values(".env")})]
    settings: S | None = None
    try:
        settings = cls()
    except ValidationError as error:
        for item in error.errors():
            name = "_".join(str(part) for part in item["loc"]).upper()
            problems.append(f"{name}: {item['msg']}" if name else item["msg"])
    if settings is None or problems:
        for problem in problems:
            sys.stderr.write(f"settings error: {problem}\n")
        raise SystemExit(EXIT_CONFIG)
    return settings
