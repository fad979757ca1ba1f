"""The gateway's settings."""

from __future__ import annotations

from pydantic import Field, field_validator

from headwater.settings import NetworkSettings, ServiceSettings
from headwater.syntax import is_did


class GatewaySettings(ServiceSettings, NetworkSettings):
    """What the gateway needs to know, read from the environment and from ``.env``."""

    gateway_host: str = Field("127.0.0.1", description="address that the gateway listens on")
    gateway_port: int = Field(8080, ge=0, le=65535, description="port that the gateway listens on; 0 takes a free one")
    gateway_did: str | None = Field(
        None, description="DID that users' tokens are made out to; default did:web of localhost and the port"
    )
    headwater_cooldown_seconds: int = Field(
        600, ge=0, description="seconds between a user's successful backfill and the next one; operators are exempt"
    )
    headwater_car_max_bytes: int = Field(4 * 1024**3, ge=1, description="largest CAR that is taken, in bytes")

    @field_validator("gateway_did")
    @classmethod
    def _is_did(cls, value: str | None) -> str | None:
        if value is not None and not is_did(value):
            raise ValueError(f"{value!r} is not a DID")
        return value

    @property
    def did(self) -> str:
        """The DID that users' tokens have to name as their audience."""
        return self.gateway_did or f"did:web:localhost%3A{self.gateway_port}"
