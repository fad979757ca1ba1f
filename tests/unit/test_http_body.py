from __future__ import annotations

import gzip
import zlib

import pytest

from headwater.errors import InvalidInputError, Reason, TransientError
from headwater.http_body import BodyLimits, Decompressor, Pace

LIMITS = BodyLimits(1000, total_timeout=60, min_rate=100, rate_window=10)
STEP = 256 * 1024


def test_pace_judges_each_window_of_waiting() -> None:
    pace = Pace(LIMITS)
    pace.add(1_000_000, 10)
    for _ in range(9):
        pace.add(1, 1)
    with pytest.raises(TransientError, match="10 bytes"):
        pace.add(1, 1)


def test_pace_allows_the_minimum_and_does_not_count_time_that_is_ours() -> None:
    pace = Pace(LIMITS)
    for _ in range(100):
        pace.add(100, 1)
    for _ in range(1000):
        pace.add(1, 0)


def test_size_is_refused_with_the_reason_of_the_limits() -> None:
    LIMITS.check_size(1000)
    with pytest.raises(InvalidInputError) as caught:
        LIMITS.check_size(1001)
    assert caught.value.reason is Reason.CAR_TOO_LARGE


@pytest.mark.parametrize("compressed", [gzip.compress(b"\0" * 5_000_000), zlib.compress(b"\0" * 5_000_000)])
def test_decompression_goes_in_bounded_steps(compressed: bytes) -> None:
    decompressor = Decompressor()
    steps = [*decompressor.steps(compressed), *decompressor.finish()]
    assert b"".join(steps) == b"\0" * 5_000_000
    assert max(map(len, steps)) <= STEP


def test_decompression_takes_any_split() -> None:
    compressed = gzip.compress(bytes(range(256)) * 10)
    decompressor = Decompressor()
    steps = [step for byte in compressed for step in decompressor.steps(bytes([byte]))]
    assert b"".join([*steps, *decompressor.finish()]) == bytes(range(256)) * 10
    with pytest.raises(InvalidInputError):
        list(decompressor.steps(b"more"))
