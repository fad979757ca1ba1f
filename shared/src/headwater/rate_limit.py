"""What a server says about its rate limits, read from response headers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple

MAX_RETRY_AFTER = 3600.0
"""Seconds. A server may ask for a longer pause, but it may not put a job to sleep for a year."""

# Reset headers are seconds from now in the IETF draft and a Unix time in atproto's servers.
_UNIX_TIME_FROM = 1_000_000_000


class RateLimit(NamedTuple):
    """A server's window: ``remaining`` of ``limit`` requests until ``reset_after`` seconds from now."""

    limit: int
    remaining: int
    reset_after: float


def parse_rate_limit(headers: Mapping[str, str], now: float | None = None) -> RateLimit | None:
    """RateLimit-Limit, -Remaining and -Reset as PDSes send them; None unless all three are there and sane.

    ``headers`` look up names without regard to case; ``now`` is a Unix time in seconds. Source:
    draft-ietf-httpapi-ratelimit-headers-03.
    """
    limit = _natural(headers.get("RateLimit-Limit"))
    remaining = _natural(headers.get("RateLimit-Remaining"))
    reset_after = _reset_after(headers, now)
    if limit is None or remaining is None or reset_after is None:
        return None
    return RateLimit(limit, remaining, reset_after)


def parse_retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait before the next try, from Retry-After (RFC 9110 section 10.2.3) or RateLimit-Reset.

    Never negative, at most `MAX_RETRY_AFTER`; None when the server named no time or one that makes no sense.
    """
    text = headers.get("Retry-After")
    seconds = _natural(text)
    if seconds is not None:
        return _capped(float(seconds))
    if text is not None:
        return _until_date(text, now)
    return _reset_after(headers, now)


def _reset_after(headers: Mapping[str, str], now: float | None) -> float | None:
    reset = _natural(headers.get("RateLimit-Reset"))
    if reset is None:
        return None
    return _capped(reset - _now(now) if reset >= _UNIX_TIME_FROM else float(reset))


def _until_date(text: str, now: float | None) -> float | None:
    try:
        when = parsedate_to_datetime(text[:64])
        moment = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return _capped(moment - _now(now))


def _natural(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 18:
        return None
    return int(text)


def _capped(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _now(now: float | None) -> float:
    return time.time() if now is None else now
