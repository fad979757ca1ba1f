"""The benchmark's arithmetic and its table: medians, ratios, verdicts. What it measures is no test's business."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.commit_times import delays
from bench.errors import VoidRunError
from bench.report import render
from bench.results import (
    ELSEWHERE,
    VERIFIER,
    Again,
    FrameStages,
    Full,
    Huge,
    Import,
    Latency,
    Live,
    LiveRun,
    Race,
    Results,
    Stages,
    cpu_per_records,
)
from bench.tables import at_least, at_most


def imports(*rates: float, records: int = 1000, **cpu: float) -> list[Import]:
    return [Import(records, records / rate, cpu) for rate in rates]


def results() -> Results:
    return Results(
        machine={"Machine": "an abacus"},
        one=Race(
            "one repo of 1,000",
            imports(40_000, 60_000, 50_000),
            [90_000, 100_000, 110_000],
            [2_000, 4_000, 2_500],
            [80_000, 50_000, 110_000],
        ),
        many=Race("2 repos of 500", imports(20_000, 30_000, 40_000), [100_000] * 3, [2_500] * 3, [60_000] * 3),
        again=Again(imports(1e5), [["com.atproto.sync.getLatestCommit"]], imports(60_000)),
        huge=Huge(Import(5000, 1.0), {"repo-backfill": 299_000_000, "indexer": 330_000_000}),
        full=Full(5_000_000, imports(27_000), imports(31_000)),
        stages=Stages(1000, {"CAR": [0.001, 0.004, 0.002]}, {"COPY": [0.01, 0.01, 0.02]}),
        frames=FrameStages(1000, 4_500_000, {"signature": [0.04, 0.05, 0.06]}, [0.1, 0.25, 0.5], [0.1, 0.2, 0.3]),
        live=Live(
            [
                LiveRun(100, 0.05, {"indexer": 0.01, VERIFIER: 0.02}),
                LiveRun(100, 0.04, {"indexer": 0.03, VERIFIER: 0.02}),
            ],
            [Latency(500, [0.01] * 50 + [0.02] * 48 + [0.3, 0.3])],
            [Latency(500, [0.9] * 100)],
            [Import(1_000_000, 50.0)],
        ),
    )


def row_of(report: str, *words: str) -> list[str]:
    [found] = [line for line in report.splitlines() if all(word in line for word in words)]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_ratios_are_of_medians() -> None:
    race = results().one
    assert race.rate == pytest.approx(50_000)
    assert race.of_copy == pytest.approx(0.5)
    assert race.of_inserts == pytest.approx(20)


def test_every_target_has_its_row() -> None:
    report = render(results())
    one, many = "one repo of 1,000, ", "2 repos of 500, "
    assert row_of(report, one, "COPY 100,000")[3:] == ["0.50 ×", "≥ 0.45 ×", "PASS", "3"]
    assert row_of(report, one, "indexes of `record` 80,000")[3:] == ["0.62 ×", "", "", "3"]
    assert row_of(report, one, "INSERT at a time 2,500")[3:] == ["20.0 ×", "≥ 15 ×", "PASS", "3"]
    assert row_of(report, many, "COPY 100,000")[3:] == ["0.30 ×", "≥ 0.45 ×", "**short by 33 %**", "3"]
    assert row_of(report, many, "INSERT at a time")[3:] == ["12.0 ×", "≥ 15 ×", "**short by 20 %**", "3"]
    assert row_of(report, "1 % changed, records/s")[3:] == ["1.20 ×", "≥ 1 ×", "PASS", "1"]
    assert row_of(report, "peak memory of repo-backfill")[1:] == [
        "299 MB", "", "at 5,000 records/s", "≤ 300 MB", "PASS", "1",
    ]  # fmt: skip
    assert row_of(report, "peak memory of indexer")[5] == "**over by 10 %**"
    assert row_of(report, "a table of 5,000,000 rows")[3:] == ["0.87 ×", "≥ 0.8 ×", "PASS", "1"]


@pytest.mark.parametrize(
    ("asked", "verdict"),
    [
        ([["getLatestCommit"]], "PASS"),
        ([["getLatestCommit"], ["getLatestCommit", "getRepo"]], "**more than that**"),
        ([["getRepo"]], "**more than that**"),
        ([[]], "**more than that**"),
    ],
)
def test_unchanged_is_one_request_and_no_car_in_every_run(asked: list[list[str]], verdict: str) -> None:
    again = replace(results().again, requests=asked)
    assert row_of(render(replace(results(), again=again)), "again, unchanged", "CAR")[5] == verdict


def test_cpu_seconds_are_scaled_to_the_records_and_the_largest_comes_first() -> None:
    runs = [*imports(1.0, records=50_000, nats=1.0, indexer=2.0), *imports(1.0, records=50_000, nats=3.0, indexer=4.0)]
    assert list(cpu_per_records(runs, 100_000).items()) == [("indexer", 6.0), ("nats", 4.0)]


def test_what_others_did_meanwhile_is_said_and_not_counted() -> None:
    runs = [Import(100_000, 2.0, {"indexer": 3.0, ELSEWHERE: 1.0})]
    report = render(replace(results(), one=Race("one", runs, [1.0], [1.0], [1.0])))
    assert "one: 3.00 CPU seconds in 2.00 s of time for 100,000 records, 1.5 cores busy" in report
    assert "everything else on the machine kept 0.5 busy." in report
    assert row_of(report, "| indexer | 3.00")[2] == "100 %"


def test_stages_are_summed_by_service() -> None:
    report = render(results())
    assert row_of(report, "| CAR ")[2:] == ["2.00", "500,000"]
    assert row_of(report, "| COPY | 10.00")[3] == "100,000"


def test_frames_are_told_by_check_and_as_a_whole() -> None:
    report = render(results())
    assert row_of(report, "frame to PubAck", "≥")[1:] == [
        "4,000",
        "",
        "5,000 by CPU time",
        "≥ 5,000",
        "**short by 20 %**",
        "3",
    ]
    assert row_of(report, "| signature |")[1:] == ["50.0", "20,000"]
    assert row_of(report, "all at once")[1:] == ["250.0", "4,000"]
    assert "200.0 µs of the process's CPU time a frame" in report
    assert "1,000 signed commits of 4,500 bytes each" in report


def test_the_live_firehose_has_its_rows() -> None:
    report = render(results())
    assert row_of(report, "relay to committed rows")[1:] == ["2,250", "", "", "≥ 2,500", "**short by 10 %**", "2"]
    assert row_of(report, "at 500 commits/s, p99")[1:] == ["300 ms", "p50 20 ms", "", "≤ 500 ms", "PASS", "1"]
    assert row_of(report, "beside an import of 1,000,000 records")[1:4] == ["900 ms", "alone 300 ms", "3.0 ×"]
    assert row_of(report, "by the whole service")[1:] == ["5,000", "", "", "≥ 5,000", "PASS", "2"]
    assert row_of(report, "| indexer | 200.0") == ["indexer", "200.0"]
    assert "which came to 20,000 records/s meanwhile" in report


def test_a_delay_is_of_a_frame_and_its_own_row() -> None:
    assert delays([1.0, 2.0, 3.0], [1.5, None, 3.25]) == [0.25, 0.5]


def test_rows_that_are_older_than_their_frames_void_the_run() -> None:
    with pytest.raises(VoidRunError, match="before its frame"):
        delays([1.0, 2.0], [2.5, 1.5])


def test_verdicts() -> None:
    assert (at_least(0.45, 0.45), at_most(300, 300)) == ("PASS", "PASS")
    assert (at_least(0.36, 0.45), at_most(450, 300)) == ("**short by 20 %**", "**over by 50 %**")
