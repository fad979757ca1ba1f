"""Headwater without the internet: a local network, the stack, accounts on request, everybody's history, a login.

``make demo`` runs it. Everything is in a temporary directory and is gone at the end. On a terminal it stays up, with
an account to log in with, until Ctrl-C. Exits with 0 when all came over, 1 when something did not, 130 when it was
interrupted on the way.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg
from demo_firehose import DAYS, Everybody
from demo_network import Network, local_network
from rich.console import Console
from rich.table import Table

from headwater_local.backfill import backfill_actor
from headwater_local.errors import EXIT_INTERRUPTED, StackError
from headwater_local.ports import free_port
from headwater_local.program import Program, started
from headwater_local.settings import DEFAULT_GATEWAY_PORT, RunnerSettings
from headwater_local.stack_file import StackFile, read_stack, running_stack
from headwater_local.status import show_status

_START_SECONDS = 90.0
_OTHERS = 2
_LOG_LINES = 60
# What of the caller's own environment is not meant for the demo.
_FOREIGN = ("NATS_URL", "DATABASE_URL", "GATEWAY_URL", "GATEWAY_DID", "GATEWAY_PUBLIC_URL", "BACKFILL_DAYS", "TRACK")
_PER_COLLECTION = """
    SELECT collection, count(*) AS records, count(DISTINCT did) AS accounts,
           min(created_at)::date AS first, max(created_at)::date AS last
    FROM record GROUP BY collection ORDER BY records DESC, collection
"""

console = Console(highlight=False)


def main() -> int:
    """Run the demo. Returns the exit code."""
    arguments = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with (
        tempfile.TemporaryDirectory(prefix="headwater-demo-", ignore_cleanup_errors=True) as directory,
        ExitStack() as held,
    ):
        home = Path(directory)
        _step(1, f"A network on this machine: {1 + arguments.accounts + _OTHERS} accounts on two PDSes, a relay")
        network = held.enter_context(local_network(arguments.accounts, _OTHERS, arguments.records))
        _step(2, f"The stack: Postgres, NATS, four services; log in {home / 'up.log'}")
        stack = held.enter_context(_stack(home, network))
        held.callback(_end_undisturbed)
        settings = RunnerSettings(headwater_home=home, gateway_url=stack.gateway_url)
        _step(3, "Accounts on request")
        for account in network.asked:
            console.print(f"$ headwater backfill {account.handle}")
            code = backfill_actor(settings, account.handle, 0, as_json=False)
            if code != 0:
                return code
        everybody = Everybody(settings, network, stack.database_url, console)
        _step(4, f"Everybody's last {DAYS} days")
        console.print(f"$ headwater firehose start --days {DAYS}")
        everybody.history()
        _step(5, "Live")
        everybody.live()
        _step(6, "A gap")
        everybody.gap()
        _step(7, "What is in Postgres, and what the stack says of itself")
        console.print(asyncio.run(_collections(stack.database_url)))
        console.print("$ headwater status")
        show_status(settings, as_json=False)
        _invite(home, stack, network, keep=arguments.keep)
        if arguments.keep:
            _stay(network, stack)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=3, help="accounts that are backfilled on request")
    parser.add_argument("--records", type=int, default=20_000, help="records of each account")
    parser.add_argument(
        "--keep",
        action=argparse.BooleanOptionalAction,
        default=sys.stdout.isatty(),
        help="stay up at the end (the default on a terminal)",
    )
    return parser.parse_args()


def _step(number: int, title: str) -> None:
    console.print(f"\n[bold]{number}. {title}[/]", soft_wrap=True)


def _invite(home: Path, stack: StackFile, network: Network, *, keep: bool) -> None:
    """What to try. Only while it is there."""
    if not keep:
        text = "Everything came over. On a terminal, or with --keep, it would stay up now for you to try."
        console.print(f"\n{text}", soft_wrap=True)
        return
    newcomer, url = network.newcomer, stack.gateway_url
    headwater = os.path.relpath(Path(sys.executable).parent / "headwater")
    records = network.records(newcomer)
    lines = (
        f"your own data  {url}/user",
        f"               handle    {newcomer.handle}",
        f"               password  {newcomer.password}",
        f"               has written nothing for 100 days, so nothing of it is here: bring its {records:,} records",
        f"operators      {url}/admin",
        f"               token in  {home / 'operator-token'}",
        f"API            {url}/docs",
        f"commands       export HEADWATER_HOME={home}",
        f"               {headwater} status",
        f"               {headwater} db psql",
    )
    console.print("\n[bold]It is yours to try[/]")
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
    console.print("\nMeanwhile somebody posts every few seconds. Ctrl-C ends all of it.")


def _stay(network: Network, stack: StackFile) -> None:
    """Until Ctrl-C, which is how this is meant to end."""
    try:
        network.live_on(stack.database_url)
    except KeyboardInterrupt:
        console.print("\nEnding it; nothing is left behind.")


def _end_undisturbed() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _stack(home: Path, network: Network) -> Iterator[StackFile]:
    """``headwater up`` on ``home``, made to see the local network and nothing else."""
    program = Program(
        name="headwater up",
        argv=(sys.executable, "-m", "headwater_local", "up"),
        probe=lambda: bool((stack := read_stack(home)) and stack.ready),
        cwd=home,  # a .env of the working directory is not meant for the demo
        env={
            **{name: value for name, value in os.environ.items() if name not in _FOREIGN},
            **network.settings,
            "HEADWATER_HOME": str(home),
            "GATEWAY_PORT": str(free_port(DEFAULT_GATEWAY_PORT)),
            "ALLOW_PRIVATE_HOSTS": "1",
        },
    )
    log = home / "up.log"
    with started(program, log=log, timeout=_START_SECONDS):
        try:
            yield running_stack(home)
        except StackError:
            # The log goes with the demo, and is all that tells why.
            last = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            console.print(*last, sep="\n", soft_wrap=True, markup=False, style="dim")
            raise


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
