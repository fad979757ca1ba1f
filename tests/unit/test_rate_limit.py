from __future__ import annotations

import pytest

from headwater.rate_limit import MAX_RETRY_AFTER, RateLimit, parse_rate_limit, parse_retry_after

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "999999999"}, MAX_RETRY_AFTER),
        ({"Retry-After": "9" * 4000}, None),
        ({"Retry-After": "-7"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Mon, 21 Sep 2026 14:13:30 GMT"}, 10.0),
        ({"Retry-After": "Mon, 21 Sep 2026 14:13:30"}, 10.0),
        ({"Retry-After": "Mon, 21 Sep 2026 14:00:00 GMT"}, 0.0),
        ({"Retry-After": "Mon, 21 Sep 9999 14:00:00 GMT"}, MAX_RETRY_AFTER),
        ({"Retry-After": "Mon, 99 Sep 2026 99:99:99 GMT"}, None),
        ({"RateLimit-Reset": "30"}, 30.0),
        ({"RateLimit-Reset": str(int(NOW) + 12)}, 12.0),
        ({"RateLimit-Reset": str(int(NOW) - 12)}, 0.0),
        ({"Retry-After": "3", "RateLimit-Reset": "30"}, 3.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert parse_retry_after(headers, NOW) == seconds


def test_rate_limit_of_a_pds() -> None:
    headers = {"RateLimit-Limit": "3000", "RateLimit-Remaining": "2999", "RateLimit-Reset": str(int(NOW) + 300)}
    assert parse_rate_limit(headers, NOW) == RateLimit(3000, 2999, 300.0)


@pytest.mark.parametrize("missing", ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"])
def test_rate_limit_needs_all_three(missing: str) -> None:
    headers = {"RateLimit-Limit": "1", "RateLimit-Remaining": "1", "RateLimit-Reset": "1"}
    assert parse_rate_limit(headers, NOW) is not None
    assert parse_rate_limit({**headers, missing: "x"}, NOW) is None
    del headers[missing]
    assert parse_rate_limit(headers, NOW) is None
