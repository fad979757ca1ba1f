"""What becomes of a message whose handling failed, and how long is waited."""

from __future__ import annotations

import random

import pytest

from headwater.backoff import backoff_seconds
from headwater.bus.settle import Disposition, Settlement, disposition
from headwater.errors import InvalidInputError, InvariantError, Reason, TransientError


def test_invalid_input_is_acked() -> None:
    assert disposition(InvalidInputError(Reason.SYNTAX), 1) == Disposition(Settlement.ACK)


def test_transient_failures_come_again_when_the_other_side_said() -> None:
    assert disposition(TransientError("429", retry_after=17.0), 3) == Disposition(Settlement.NACK, 17.0)


def test_transient_failures_wait_longer_each_time() -> None:
    first, tenth = (disposition(TransientError("reset"), n).delay for n in (1, 10))
    assert 0 < first <= 0.5 < 30 <= tenth <= 60


@pytest.mark.parametrize("error", [InvariantError("floor went back"), KeyError("bug"), AssertionError()])
def test_our_own_faults_end_the_process(error: Exception) -> None:
    assert disposition(error, 1).settlement is Settlement.EXIT


def test_backoff_never_overflows_nor_exceeds_its_cap() -> None:
    rng = random.Random(1)
    assert all(0 < backoff_seconds(n, base=0.5, cap=60, rng=rng) <= 60 for n in (0, 1, 5, 63, 1_000, 10**9))
