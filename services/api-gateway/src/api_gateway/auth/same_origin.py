"""Whether a browser's request comes from our own pages; pure.

A cookie goes along with requests that other sites make a browser send (cross-site request forgery). Browsers say
where a request comes from: Sec-Fetch-Site (https://www.w3.org/TR/fetch-metadata/), and Origin where that is missing.
Pages cannot forge either.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from api_gateway.problems import Problem

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def is_own_page(headers: Mapping[str, str], origins: frozenset[str]) -> bool:
    """Whether the browser says that one of our pages (of these origins) asks. A request that says nothing is none."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return headers.get("origin") in origins


def check_own_page(method: str, headers: Mapping[str, str], origins: frozenset[str]) -> None:
    """Raises Problem 403 for a request that may change something and does not come from our own pages."""
    if method not in _SAFE and not is_own_page(headers, origins):
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "cross_site",
            "a request with a session's cookie has to come from the gateway's own pages (Sec-Fetch-Site or Origin)",
        )
