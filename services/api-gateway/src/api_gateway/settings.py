"""The gateway's settings."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from pydantic import Field, field_validator

from headwater.settings import NetworkSettings, ServiceSettings
from headwater.syntax import is_did

_PUBLIC_URL: Final = re.compile(
    r"https://(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*|http://127\.0\.0\.1:[0-9]{1,5}"
)


class GatewaySettings(ServiceSettings, NetworkSettings):
    """What the gateway needs to know, read from the environment and from ``.env``."""

    gateway_host: str = Field("127.0.0.1", description="address that the gateway listens on")
    gateway_port: int = Field(8080, ge=0, le=65535, description="port that the gateway listens on; 0 takes a free one")
    gateway_public_url: str | None = Field(
        None, description="where browsers reach the gateway, https://host; unset: http://127.0.0.1 and the port"
    )
    gateway_did: str | None = Field(
        None,
        description="DID that users' tokens are made out to; default did:web of the public URL's host, or of localhost "
        "and the port",
    )
    gateway_proxies: str = Field(
        "",
        description="addresses and networks of the proxies in front of the gateway, comma-separated, whose "
        "X-Forwarded-For is believed",
    )
    headwater_cooldown_seconds: int = Field(
        600, ge=0, description="seconds between a user's successful backfill and the next one; operators are exempt"
    )
    headwater_car_max_bytes: int = Field(4 * 1024**3, ge=1, description="largest CAR that is taken, in bytes")

    @field_validator("gateway_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for network in _listed(value):
            ipaddress.ip_network(network)
        return value

    @field_validator("gateway_did")
    @classmethod
    def _is_did(cls, value: str | None) -> str | None:
        if value is not None and not is_did(value):
            raise ValueError(f"{value!r} is not a DID")
        return value

    @field_validator("gateway_public_url")
    @classmethod
    def _is_origin(cls, value: str | None) -> str | None:
        """What OAuth lets a client be: an https origin without a port, or a loopback address with one."""
        if value is None:
            return None
        if not _PUBLIC_URL.fullmatch(value.rstrip("/")):
            raise ValueError(f"{value!r} is neither https://host nor http://127.0.0.1:port")
        return value.rstrip("/")

    @property
    def proxies(self) -> list[str]:
        """``gateway_proxies`` as a list."""
        return _listed(self.gateway_proxies)

    @property
    def did(self) -> str:
        """The DID that users' tokens have to name as their audience."""
        if self.gateway_did is not None:
            return self.gateway_did
        if self.gateway_public_url is not None and self.gateway_public_url.startswith("https://"):
            return "did:web:" + self.gateway_public_url.removeprefix("https://")
        return f"did:web:localhost%3A{self.gateway_port}"


def _listed(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]
