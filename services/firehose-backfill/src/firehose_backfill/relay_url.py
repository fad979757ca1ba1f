"""RELAY_URLS, read. Pure."""

from __future__ import annotations

from typing import Final

from yarl import URL

from headwater.egress import parse_http_url
from headwater.errors import InvalidInputError

_HTTP_SCHEMES: Final = {"wss": "https", "ws": "http"}


def relay_origins(setting: str) -> list[URL]:
    """The origins in RELAY_URLS, in its order; ``wss`` becomes https and ``ws`` http.

    Raises ValueError for what is no URL of a host, or has a path.
    """
    return [_origin(text) for text in (part.strip() for part in setting.split(",")) if text]


def _origin(text: str) -> URL:
    scheme, _, rest = text.partition("://")
    try:
        url = parse_http_url(f"{_HTTP_SCHEMES.get(scheme, scheme)}://{rest}")
    except InvalidInputError as error:
        raise ValueError(f"{text!r} is no relay's URL (wss://host): {error.detail}") from error
    if url.path != "/" or url.query_string:
        raise ValueError(f"{text!r}: a relay's URL ends with its host or port")
    return url.origin()
