"""``headwater up``: everything starts, what dies comes back, everything stops, and the data stays."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from headwater_local.stack_file import read_stack
from integration.runner_under_test import PATIENCE_SECONDS, Runner, command, query, retried, running
from servers import scratch_directory

# Nobody is there: the stand-ins ask no server.
ELSEWHERE = {"NATS_URL": "nats://127.0.0.1:1", "DATABASE_URL": "postgresql://somebody@127.0.0.1:1/else"}
POSTGRES_AWAY = (OSError, asyncpg.PostgresError)


@pytest.fixture
def directory() -> Iterator[Path]:
    with scratch_directory() as scratch:
        scratch.chmod(0o711)
        yield scratch


def kill(runner: Runner, name: str) -> int:
    stack = read_stack(runner.home)
    assert stack is not None
    pid = stack.processes[name].pid
    os.kill(pid, signal.SIGKILL)
    return pid


def test_all_start_and_stop_and_the_next_start_finds_the_data(directory: Path) -> None:
    with running(directory, "--workers", "repo-backfill=2,indexer=2") as runner:
        stack = runner.wait_ready()
        assert set(stack.processes) == {
            "postgres",
            "nats",
            "indexer.0",
            "indexer.1",
            "repo-backfill.0",
            "repo-backfill.1",
            "firehose-backfill.0",
            "api-gateway.0",
        }
        assert "stand-in indexer 1 of 2" in runner.output
        assert stat.S_IMODE((runner.home / "stack.json").stat().st_mode) == 0o600
        query(stack.database_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert runner.stop() == 0
        assert read_stack(runner.home) is None
        assert [name for name, process in stack.processes.items() if process.handle() is not None] == []
    with running(directory) as runner:
        stack = runner.wait_ready()
        assert query(stack.database_url, "SELECT answer FROM kept") == 42
        typed = runner.wait_for(lambda: re.search(r"^ +query it +(.+)$", runner.output, re.MULTILINE))[1]
        said = subprocess.run(
            f"{typed} -Atc 'SELECT answer FROM kept'",
            shell=True,
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (said.returncode, said.stdout) == (0, "42\n"), "what it says to type works as it stands"
        assert runner.stop(signal.SIGINT) == 0


def test_servers_of_ones_own_are_used_instead(directory: Path) -> None:
    with running(directory, **ELSEWHERE) as runner:
        stack = runner.wait_ready()
        assert set(stack.processes) == {"indexer.0", "repo-backfill.0", "firehose-backfill.0", "api-gateway.0"}
        assert (stack.nats_url, stack.database_url) == (ELSEWHERE["NATS_URL"], ELSEWHERE["DATABASE_URL"])
        assert runner.output.count(f"uses {stack.nats_url} and {stack.database_url}") == len(stack.processes)
        assert runner.stop() == 0
        assert not {"postgres", "nats"} & {path.name for path in runner.home.iterdir()}


def test_it_says_which_port_it_takes_where_the_wanted_one_is_taken(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        wanted = other.getsockname()[1]
        with running(directory, GATEWAY_PORT=str(wanted), **ELSEWHERE) as runner:
            gateway = runner.wait_ready().gateway_url
            assert gateway != f"http://127.0.0.1:{wanted}"
            assert f"port {wanted} is taken; gateway takes {gateway.rpartition(':')[2]}" in runner.output
            runner.wait_for(lambda: f"Headwater is ready: {gateway}" in runner.output or None)
            assert runner.stop() == 0


def test_what_is_killed_comes_back(directory: Path) -> None:
    with running(directory) as runner:
        stack = runner.wait_ready()
        query(stack.database_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        for name in ("indexer.0", "nats", "postgres"):
            pid = kill(runner, name)
            assert runner.restarted(name, pid).database_url == stack.database_url
            assert f"{name} was killed by signal 9" in runner.output
        found = retried(lambda: query(stack.database_url, "SELECT answer FROM kept"), *POSTGRES_AWAY)
        assert found == 42
        assert runner.stop() == 0


def test_asked_twice_to_stop_it_kills(directory: Path) -> None:
    with running(directory, STAND_IN_IS_DEAF="indexer") as runner:
        stack = runner.wait_ready()
        runner.process.send_signal(signal.SIGINT)
        runner.wait_for(lambda: "once more kills" in runner.output or None)
        assert runner.stop(signal.SIGINT) == 130
        assert "did not stop within" not in runner.output
        assert [name for name, process in stack.processes.items() if process.handle() is not None] == []


def test_a_home_has_one_runner(directory: Path) -> None:
    with running(directory) as first:
        first.wait_ready()
        with running(directory) as second:
            assert second.process.wait(PATIENCE_SECONDS) == 1
            assert f"another `headwater up` (pid {first.process.pid})" in second.output
        assert first.process.poll() is None
        assert first.wait_ready().runner.pid == first.process.pid


def test_what_a_killed_runner_left_is_ended_by_the_next(directory: Path) -> None:
    with running(directory) as first:
        stack = first.wait_ready()
        query(stack.database_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        first.process.kill()
        first.process.wait()
    with running(directory) as second:
        found = query(second.wait_ready().database_url, "SELECT answer FROM kept")
        assert found == 42
        assert "ended what a crash had left running" in second.output
        left = [handle for process in stack.processes.values() if (handle := process.handle()) is not None]
        assert psutil.wait_procs(left, timeout=60)[1] == []


def test_a_settings_error_stops_the_start_and_is_said(directory: Path) -> None:
    with running(directory, STAND_IN_REFUSES="repo_backfill") as runner:
        assert runner.process.wait(PATIENCE_SECONDS) == 78
        assert "headwater: repo-backfill.0 does not accept its settings" in runner.output
        assert "  settings error: PLC_URL: says the stand-in" in runner.output
        assert read_stack(runner.home) is None


def test_db_url_is_that_of_the_running_stack(directory: Path) -> None:
    with running(directory) as runner:
        runner.wait_ready()
        answer = command(runner.home, "db", "url")
        assert (answer.returncode, answer.stderr) == (0, "")
        assert query(answer.stdout.strip(), "SELECT current_database()") == "headwater"
        assert runner.stop() == 0
        answer = command(runner.home, "db", "url")
        assert (answer.returncode, answer.stdout) == (1, "")
        assert "headwater up" in answer.stderr
