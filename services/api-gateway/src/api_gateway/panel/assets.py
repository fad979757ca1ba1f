"""The files that pages load: our own stylesheet, and htmx with its extension for server-sent events.

They are addressed by their content, so that browsers may keep them for ever and get a new one when it changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Final

_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_VERSION_LENGTH: Final = 12


@dataclass(frozen=True, slots=True)
class Asset:
    """A file, its media type, and the version that its URL carries."""

    content: bytes
    media_type: str
    version: str


def _load() -> dict[str, Asset]:
    found = {}
    directory = files("api_gateway.panel")
    for folder in ("static", "vendored"):
        for file in directory.joinpath(folder).iterdir():
            media_type = _TYPES.get("." + file.name.rpartition(".")[2])
            if media_type is not None:
                content = file.read_bytes()
                found[file.name] = Asset(content, media_type, sha256(content).hexdigest()[:_VERSION_LENGTH])
    return found


ASSETS: Final = _load()


def asset_url(name: str) -> str:
    """The URL of an asset. Raises KeyError for one that is not there."""
    return f"/assets/{name}?v={ASSETS[name].version}"
