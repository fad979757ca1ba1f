"""The pure parts of the runner and the commands."""

from __future__ import annotations

import asyncio
import io
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from headwater.bus.jobs import JobState, JobStatus
from headwater.errors import Reason
from headwater_local.display import Bar
from headwater_local.errors import StackError
from headwater_local.files import read_or_create_secret
from headwater_local.gateway import server_sent_data
from headwater_local.import_car import did_of_repo
from headwater_local.nats import EmbeddedNats
from headwater_local.output import Output
from headwater_local.ports import free_port
from headwater_local.program import Program
from headwater_local.progress import ProgressMeter, summary
from headwater_local.services import Workers, service_programs
from headwater_local.status import tables

CARS = Path(__file__).parents[2] / "../shared/data/cars"


def job(**changes: Any) -> JobStatus:
    blank = dict.fromkeys(JobStatus.model_fields)
    fixed = {
        "job_id": "job1",
        "did": "did:plc:alice",
        "actor": "alice.test",
        "lane": "user",
        "days": 0,
        "requested_by": "operator",
        "state": "fetching",
        "attempt": 1,
        "cancel_requested": False,
        "requested_at_us": 1_000_000,
        "updated_at_us": 1_000_000,
        "bytes_fetched": 0,
        "records_published": 0,
        "records_written": 0,
        "records_deleted": 0,
        "unchanged": False,
        "rejected": {},
        "collections": {},
    }
    return JobStatus.model_validate(blank | fixed | changes)


def test_progress_is_in_bytes_until_the_records_are_counted() -> None:
    meter = ProgressMeter()
    first = meter.measure(job(bytes_fetched=0, bytes_total=4000), now=100.0)
    assert (first.unit, first.rate, first.left) == ("bytes", None, None)
    second = meter.measure(job(bytes_fetched=1000, bytes_total=4000), now=102.0)
    assert (second.unit, second.rate, second.left) == ("bytes", 500.0, 6.0)
    third = meter.measure(job(bytes_fetched=4000, records_total=50, records_written=10), now=103.0)
    assert (third.unit, third.done, third.total, third.rate) == ("records", 10, 50, None)


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    meter = ProgressMeter()
    for second in range(60):
        written = 100 * second if second < 30 else 3000 + (second - 30)
        latest = meter.measure(job(records_total=10_000, records_written=written), now=float(second))
    assert latest.rate == pytest.approx(1.0)


def test_a_new_attempt_starts_the_measurement_again() -> None:
    meter = ProgressMeter()
    meter.measure(job(records_total=100, records_written=0), now=0.0)
    meter.measure(job(records_total=100, records_written=90), now=1.0)
    assert meter.measure(job(records_total=100, records_written=0), now=2.0).rate is None
    assert meter.measure(job(records_total=100, records_written=5), now=3.0).rate == 5.0


def test_the_bar_shows_all_the_figures_in_eighty_columns() -> None:
    text = io.StringIO()
    with Bar(Console(file=text, width=80, force_terminal=True, color_system=None)) as bar:
        for written in (0, 50_000):
            bar.show(
                job(
                    state="indexing",
                    handle="alice.example.com",
                    bytes_fetched=36_400_000,
                    records_published=64_149,
                    records_total=100_000,
                    records_written=written,
                )
            )
    shown = text.getvalue()
    for figure in ("alice.example.com indexing", " s left", "36.4 MB", "64,149 published", "50,000 of 100,000 written"):
        assert figure in shown
    assert "records/s" in shown


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {
                "state": JobState.DONE,
                "rev": "3k",
                "records_written": 12_345,
                "records_deleted": 2,
                "handle": "al.test",
                "rejected": {"mst": 1},
                "finished_at_us": 3_500_000,
            },
            "done: al.test (did:plc:alice) at rev 3k: 12,345 records written, 2 deleted, 1 rejected (mst 1), 2.5 s",
        ),
        ({"state": JobState.DONE, "rev": "3k", "unchanged": True}, "done: did:plc:alice has not changed since rev 3k"),
        (
            {"state": JobState.FAILED, "reason": Reason.NOT_FOUND, "detail": "RepoNotFound"},
            "failed: did:plc:alice: not_found: RepoNotFound",
        ),
        (
            {"state": JobState.CANCELLED, "records_written": 7},
            "cancelled: did:plc:alice; 7 records that were written stay",
        ),
    ],
)
def test_the_last_line_says_how_it_ended(changes: dict[str, Any], line: str) -> None:
    assert summary(job(**changes)) == line


async def test_server_sent_events_are_read_line_by_line() -> None:
    import aiohttp
    from aiohttp.base_protocol import BaseProtocol

    loop = asyncio.get_running_loop()
    stream = aiohttp.StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    stream.feed_data(b': comment\r\n\r\nevent: job\r\ndata: {"a"\r\ndata: :1}\r\n\r\ndata:two\n\ndata: unfinished')
    stream.feed_eof()
    assert [data async for data in server_sent_data(stream)] == ['{"a"\n:1}', "two"]


@pytest.mark.parametrize(
    "text", ["indexer", "indexer=0", "indexer=x", "indexer=-1", "indexr=2", "api-gateway=2", "indexer=65", "=1"]
)
def test_wrong_numbers_of_workers_are_refused(text: str) -> None:
    with pytest.raises(StackError, match="--workers"):
        Workers.parse(text)


def test_every_worker_knows_its_number_and_has_its_port() -> None:
    programs = service_programs(Workers.parse("indexer=2, repo-backfill=3"), 8080, {"SHARED": "yes"})
    environments = {program.name: program.env or {} for program in programs}
    assert {name: f"{env['WORKER_ID']}/{env['WORKER_COUNT']}" for name, env in environments.items()} == {
        "indexer.0": "0/2",
        "indexer.1": "1/2",
        "repo-backfill.0": "0/3",
        "repo-backfill.1": "1/3",
        "repo-backfill.2": "2/3",
        "firehose-backfill.0": "0/1",
        "api-gateway.0": "0/1",
    }
    assert len({program.health_url for program in programs}) == len(programs)
    assert all(env["SHARED"] == "yes" for env in environments.values())


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) not in (0, port)
    assert free_port(port) == port


def test_a_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "secret"
    assert read_or_create_secret(file, lambda: "one") == "one"
    assert read_or_create_secret(file, lambda: "two") == "one"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("routine", [False, True])
async def test_routine_lines_are_kept_but_not_shown(routine: bool) -> None:
    text = io.StringIO()
    reader = asyncio.StreamReader()
    reader.feed_data(b"[1] 2026/11/23 [INF] Server is ready\n[1] 2026/11/23 [ERR] no space\n")
    reader.feed_eof()
    last: deque[str] = deque(maxlen=9)
    await Output(text, width=4, routine=routine).pump(EmbeddedNats(Path("home"), 4222).program(), reader, last)
    assert [line.split("[")[-1] for line in text.getvalue().splitlines()] == ["INF] Server is ready"] * routine + [
        "ERR] no space"
    ]
    assert len(last) == 2


async def test_output_comes_line_by_line_and_a_line_without_end_is_cut() -> None:
    text = io.StringIO()
    output = Output(text, width=4)
    program = Program(name="nats", argv=("nats",), probe=lambda: True)
    reader = asyncio.StreamReader()
    reader.feed_data(b"one\ntwo\r\n" + b"x" * 200_000 + b"\nlast \xff")
    reader.feed_eof()
    last: deque[str] = deque(maxlen=2)
    await output.pump(program, reader, last)
    lines = text.getvalue().splitlines()
    assert lines[:2] == ["nats | one", "nats | two"]
    assert sum(line.count("x") for line in lines) == 200_000
    assert max(map(len, lines)) < 140_000
    assert lines[-1] == "nats | last \ufffd"
    assert last[-1] == "last \ufffd"


def test_status_is_shown_for_people() -> None:
    worker = {
        "service": "indexer",
        "worker_id": 1,
        "worker_count": 2,
        "ready": False,
        "conditions": {"nats": "ok", "postgres": "away"},
        "figures": {"rows_per_second": 1234.5, "bytes_held": 0},
        "started_at_us": 0,
    }
    lane = {"lane": "live", "partition": 3, "waiting": 0, "in_flight": 0, "redelivered": 0}
    answer = {
        "workers": [worker],
        "streams": [{"stream": "RECORDS_LIVE", "messages": 12_000, "bytes": 5_000_000, "last_sequence": 9}],
        "lanes": [lane, lane | {"partition": 7, "waiting": 42}],
        "jobs": {"done": 3},
        "repo_backfill": {"paused": True},
    }
    lines = shown(tables(answer, now=7_200_000_000))
    for words in (
        ["indexer 1 of 2", "not ready: postgres: away", "2 h", "rows per second 1,234.5"],
        ["RECORDS_LIVE", "12,000", "5.0 MB"],
        ["live", "7", "42"],
        ["done", "3"],
        ["paused", "yes"],
    ):
        assert [line for line in lines if all(word in line for word in words)], words
    assert not [line for line in lines if "live" in line and " 3 " in line]
    assert "bytes held" not in "".join(lines)


def test_status_of_an_empty_stack_is_shown_too() -> None:
    assert sum("none" in line for line in shown(tables({}, now=0))) == 5


def shown(found: list[Table]) -> list[str]:
    text = io.StringIO()
    console = Console(file=text, width=120)
    for table in found:
        console.print(table)
    return text.getvalue().splitlines()


def test_the_did_of_a_real_export_is_found() -> None:
    car = CARS / "calabro-small.car"
    if not car.exists():
        pytest.skip("the shared test inputs are not there")
    assert did_of_repo(car).startswith("did:plc:")


@pytest.mark.parametrize("content", [b"", b"no car", bytes(2000)])
def test_what_is_no_repo_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file.car"
    file.write_bytes(content)
    with pytest.raises(StackError, match=r"file\.car"):
        did_of_repo(file)
    with pytest.raises(StackError, match="cannot read"):
        did_of_repo(tmp_path / "none.car")
