"""What the runner and the commands read from the environment and from ``.env``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_GATEWAY_PORT = 8080


class RunnerSettings(BaseSettings):
    """Where the stack lives and which servers it uses; field names in upper case are the variables' names."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True)

    headwater_home: Path = Field(Path(".headwater"), description="where state on disk lives")
    headwater_log_level: str = Field("info", description="debug also shows the embedded servers' routine lines")
    nats_url: str | None = Field(None, description="a NATS server to use instead of the embedded one")
    database_url: str | None = Field(None, description="a Postgres database to use instead of the embedded one")
    gateway_port: int = Field(DEFAULT_GATEWAY_PORT, ge=1, le=65535, description="port of the gateway")
    gateway_url: str | None = Field(None, description="a gateway to talk to, where it is not the one of this home")
