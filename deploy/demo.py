"""Headwater without the internet: a local network, the stack, some accounts backfilled, and what Postgres holds then.

``make demo`` runs it. Everything is in a temporary directory and is gone at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import demo_firehose
from rich.console import Console
from rich.table import Table

from headwater_local.backfill import backfill_actor
from headwater_local.errors import EXIT_INTERRUPTED, StackError
from headwater_local.ports import free_port
from headwater_local.program import Program, started, stop
from headwater_local.settings import DEFAULT_GATEWAY_PORT, RunnerSettings
from headwater_local.stack_file import StackFile, read_stack, running_stack

_TESTS = Path(__file__).resolve().parents[1] / "tests"
_START_SECONDS = 90.0
_OTHERS = 2
"""Accounts that nobody asks for: they come with everybody's history."""
_PER_COLLECTION = """
    SELECT collection, count(*) AS records, count(DISTINCT did) AS accounts,
           min(created_at)::date AS first, max(created_at)::date AS last
    FROM record GROUP BY collection ORDER BY records DESC, collection
"""

console = Console()


def main() -> int:
    """Run the demo; 0 when every account came over."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="headwater-demo-", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        with ExitStack() as held:
            network = held.enter_context(_local_network(arguments.accounts + _OTHERS, arguments.records))
            asked, others = network["accounts"][: arguments.accounts], network["accounts"][arguments.accounts :]
            demo_firehose.prepare(network, others)
            stack = held.enter_context(_stack(home, network))
            settings = RunnerSettings(headwater_home=home, gateway_url=stack.gateway_url)
            for account in asked:
                code = backfill_actor(settings, account["handle"], 0, as_json=False)
                if code != 0:
                    return code
            console.print(asyncio.run(_collections(stack.database_url)))
            demo_firehose.show(settings, network, others, stack.database_url, console)
            console.print(f"panel  {stack.gateway_url}/user\nAPI    {stack.gateway_url}/docs")
            if arguments.keep:
                console.print(f"psql   psql {stack.database_url}\n\nCtrl-C ends it.", soft_wrap=True)
                signal.pause()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=4, help="accounts on the local network")
    parser.add_argument("--records", type=int, default=20_000, help="records of each account")
    parser.add_argument(
        "--keep",
        action=argparse.BooleanOptionalAction,
        default=sys.stdout.isatty(),
        help="stay up at the end (the default on a terminal)",
    )
    return parser.parse_args()


@contextmanager
def _local_network(accounts: int, records: int) -> Iterator[Mapping[str, Any]]:
    """The simulator in a process of its own; yields the line in which it says where it is and who lives there."""
    console.print(f"A local network: {accounts} accounts with {records:,} records each ...")
    sizes = ["--accounts", str(accounts), "--records", str(records)]
    command = [sys.executable, "-m", "simulator", "--hosts", "2", "--recent", "--odd", *sizes]
    process = subprocess.Popen(command, cwd=_TESTS, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise StackError("the local network did not start")
        yield json.loads(line)
    finally:
        process.stdout.close()
        stop(process, signal.SIGTERM, timeout=10.0)


@contextmanager
def _stack(home: Path, network: Mapping[str, Any]) -> Iterator[StackFile]:
    """``headwater up`` on ``home``, made to see the local network and nothing else."""
    console.print(f"The stack, with its log in {home / 'up.log'} ...")
    outside = {name: value for name, value in os.environ.items() if name not in {"NATS_URL", "DATABASE_URL"}}
    program = Program(
        name="headwater up",
        argv=(sys.executable, "-m", "headwater_local", "up"),
        probe=lambda: bool((stack := read_stack(home)) and stack.ready),
        cwd=home,  # a .env of the working directory is not meant for the demo
        env={
            **outside,
            "HEADWATER_HOME": str(home),
            "GATEWAY_PORT": str(free_port(DEFAULT_GATEWAY_PORT)),
            "PLC_URL": network["plc_url"],
            "HANDLE_RESOLVER_URL": network["pds_urls"][0],
            "ALLOW_PRIVATE_HOSTS": "1",
            "RELAY_URLS": network["relay_url"],
        },
    )
    with started(program, log=home / "up.log", timeout=_START_SECONDS):
        yield running_stack(home)


async def _collections(database_url: str) -> Table:
    """What the ``record`` table holds, per collection."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(_PER_COLLECTION)
    finally:
        await connection.close()
    table = Table(title="In Postgres", title_justify="left")
    table.add_column("collection")
    for column in ("records", "accounts", "first", "last"):
        table.add_column(column, justify="right")
    for collection, records, accounts, first, last in rows:
        table.add_row(collection, f"{records:,}", f"{accounts:,}", str(first), str(last))
    return table


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StackError as error:
        sys.stderr.write(f"demo: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
