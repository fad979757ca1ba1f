from __future__ import annotations

import pytest

from headwater.record_time import (
    datetime_microseconds,
    datetimes_microseconds,
    effective_time,
    effective_times,
)
from headwater.tid import tid_from

SECOND = 1_000_000
T_2023 = 1_685_577_600 * SECOND  # 2023-06-01T00:00:00Z
T_2024 = 1_717_200_000 * SECOND  # 2024-06-01T00:00:00Z
NOW = 1_767_225_600 * SECOND  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("2023-06-01T00:00:00Z", T_2023),
        ("2023-06-01T00:00:00.5Z", T_2023 + 500_000),
        ("2023-06-01T00:00:00.000001Z", T_2023 + 1),
        ("2023-06-01T00:00:00.0000019Z", T_2023 + 1),
        ("2023-06-01T02:00:00+02:00", T_2023),
        ("2023-05-31T16:30:00.000-07:30", T_2023),
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59Z", -SECOND),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("0001-01-01T00:00:00Z", -62_135_596_800 * SECOND),
        ("9999-12-31T23:59:59.999999999Z", 253_402_300_799 * SECOND + 999_999),
        ("9999-12-31T23:59:59-01:00", 253_402_304_399 * SECOND),
    ],
)
def test_a_datetime_names_a_moment(text: str, microseconds: int) -> None:
    assert datetime_microseconds(text) == microseconds


@pytest.mark.parametrize(
    "text",
    [
        "2023-06-01t00:00:00z",
        "2023-06-01 00:00:00Z",
        "2023-06-01T00:00Z",
        "2023-06-01T00:00:00",
        "2023-06-01T00:00:00.000000",
        "2023-06-01T00:00:00+0000",
        "2023-06-01T00:00:00-00:00",
        "2023-06-01T02:00:00.000+0200",
    ],
)
def test_the_slips_of_real_records_are_read(text: str) -> None:
    assert datetime_microseconds(text) == T_2023


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Z",
        "now",
        "2026-01-01",
        "2026-01-01T",
        "2026-01-01TZ",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01T25:00:00Z",
        "2026-01-01T00:60:00Z",
        "2016-12-31T23:59:60Z",
        "2026-01-01T00:00:00+99:99",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00ZZ",
        "2026-01-01T00:00:00 Z",
        "2026-01-01T00:00:00xZ",
        "2026-01-01T00:00:00.123456xZ",
        "2026-01-01T00:00:00.Z",
        "2026-W01-1T00:00:00Z",
        "20260101T000000Z",
        " 2026-01-01T00:00:00Z",
        "２026-01-01T00:00:00Z",
        "\x002026-01-01T00:00:00Z",
        "1767225600",
        "Thu, 01 Jan 2026 00:00:00 GMT",
        "2026-01-01T00:00:00." + "0" * 100_000 + "Z",
    ],
)
def test_what_names_no_moment_has_no_value(text: str) -> None:
    assert datetime_microseconds(text) is None


@pytest.mark.parametrize(
    ("created_at", "rkey", "expected"),
    [
        (T_2023, "self", (T_2023, True)),
        (T_2023, tid_from(T_2024), (T_2023, True)),
        (T_2024, tid_from(T_2023), (T_2023, True)),
        (None, tid_from(T_2023), (T_2023, True)),
        (None, "self", (NOW, False)),
        # Written in the future, or with a clock ahead: now.
        (NOW + 1, "self", (NOW, True)),
        (NOW + 1, tid_from(NOW + 1), (NOW, True)),
        (None, tid_from(NOW + 1), (NOW, True)),
        (-1, "self", (-1, True)),
        # A key from before the protocol is no clock reading, though it reads as a TID.
        (T_2023, "2222222222222", (T_2023, True)),
        (None, "2222222222222", (NOW, False)),
        (None, "supercalifrag", (NOW, False)),
    ],
)
def test_the_effective_time_is_the_earliest_that_is_known(
    created_at: int | None, rkey: str, expected: tuple[int, bool]
) -> None:
    assert effective_time(created_at, rkey, NOW) == expected
    among_others = effective_times([T_2024, created_at, T_2023], [tid_from(T_2023), rkey, tid_from(T_2024)], NOW)
    assert among_others == [T_2023, expected[0], T_2023]


@pytest.mark.parametrize("rkey", ["kkkkkkkkkkkkk", "3jzfcijpj2z2", "3jzfcijpj2z2aa", "3jzfcijpj_z2a", "3jzfcijpj2z 2"])
def test_the_times_of_many_are_those_of_each(rkey: str) -> None:
    rkeys = [tid_from(T_2023), rkey, tid_from(NOW + 1), tid_from(T_2024)]
    created_at: list[int | None] = [T_2024, T_2024, None, NOW + 2]
    for many in (slice(0, 1), slice(0, 2), slice(0, 4), slice(2, 4), slice(3, 4)):
        pairs = zip(created_at[many], rkeys[many], strict=True)
        each = [effective_time(one, key, NOW)[0] for one, key in pairs]
        assert effective_times(created_at[many], rkeys[many], NOW) == each


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "2024-01-02T03:04:05.678Z",
        "2024-01-02T03:04:05Z",
        "2024-02-30T03:04:05.678Z",
        "2024-01-02T03:04:05.678z",
        "2024-01-02 03:04:05.678Z",
        "2024-01-02T03:04:05.67é8Z",
        "2024-01-02T03:04:05.6780",
        "2024-01-02T03:04:60.678Z",
        "0001-01-01T00:00:00.000Z",
    ],
)
def test_the_moments_of_many_are_those_of_each(odd: str) -> None:
    usual = ["2023-06-01T00:00:00.000Z", "1969-12-31T23:59:59.999Z"]
    for texts in ([odd], [*usual, odd], [odd, *usual], [odd, odd]):
        assert datetimes_microseconds(texts) == [datetime_microseconds(text) for text in texts]
    assert datetimes_microseconds(usual) == [T_2023, -1_000]
