from __future__ import annotations

import pytest

from headwater.errors import InvalidInputError, Reason
from headwater.tid import is_tid, tid_from, tid_microseconds

MAX_MICROSECONDS = (1 << 53) - 1


@pytest.mark.parametrize(
    ("tid", "microseconds", "clock_id"),
    [
        ("2222222222222", 0, 0),
        ("222222222222z", 0, 31),
        ("bzzzzzzzzzzzz", MAX_MICROSECONDS, 1023),
        # 2023-06-01T00:00:00Z.
        ("3jx2sj3hs2222", 1_685_577_600_000_000, 0),
    ],
)
def test_a_tid_and_its_time_are_each_others_inverse(tid: str, microseconds: int, clock_id: int) -> None:
    assert tid_microseconds(tid) == microseconds
    assert tid_from(microseconds, clock_id) == tid


def test_a_set_top_bit_is_read_as_a_later_time() -> None:
    assert is_tid("jzzzzzzzzzzzz")
    assert tid_microseconds("jzzzzzzzzzzzz") > tid_microseconds("bzzzzzzzzzzzz")


def test_tids_sort_as_their_times_do() -> None:
    times = [0, 1, 1023, 1_685_577_600_000_000, 1_685_577_600_000_001, MAX_MICROSECONDS]
    tids = [tid_from(time) for time in times]
    assert tids == sorted(tids)


@pytest.mark.parametrize(
    "text", ["", "3jzfcijpj2z2", "kjzfcijpj2z2a", "3JZFCIJPJ2Z2A", "3jzfcijpj2z2a\n", "3jzfcijpj2z2é"]
)
def test_what_is_no_tid_is_refused(text: str) -> None:
    assert not is_tid(text)
    with pytest.raises(InvalidInputError) as caught:
        tid_microseconds(text)
    assert caught.value.reason is Reason.SYNTAX


@pytest.mark.parametrize(("microseconds", "clock_id"), [(-1, 0), (MAX_MICROSECONDS + 1, 0), (0, 1024), (0, -1)])
def test_what_does_not_fit_makes_no_tid(microseconds: int, clock_id: int) -> None:
    with pytest.raises(ValueError, match="no TID holds"):
        tid_from(microseconds, clock_id)
