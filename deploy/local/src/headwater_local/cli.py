"""The ``headwater`` command: its arguments and exit codes. What each command does is in the module of its name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from headwater.settings import load_settings
from headwater_local.backfill import backfill_actor, cancel_job
from headwater_local.db import database_url, run_psql
from headwater_local.dead_letters import drop_letter, list_letters, retry_letter, show_letter
from headwater_local.errors import StackError
from headwater_local.firehose import pause_history, resume_history, show_firehose, start_history
from headwater_local.import_car import import_file
from headwater_local.services import SERVICES, Workers
from headwater_local.settings import RunnerSettings
from headwater_local.status import show_status
from headwater_local.up import run_stack

app = typer.Typer(
    name="headwater",
    help="AT Protocol history into Postgres. Start with `headwater up`, then `headwater backfill HANDLE`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
db = typer.Typer(help="The database of the running stack.", no_args_is_help=True)
app.add_typer(db, name="db")
firehose = typer.Typer(help="Everybody's records: the live tail and the history before it.", no_args_is_help=True)
app.add_typer(firehose, name="firehose")
dead_letters = typer.Typer(help="What could not be used, kept for 30 days.", no_args_is_help=True)
app.add_typer(dead_letters, name="dead-letters")

Days = Annotated[int, typer.Option(min=0, max=3650, help="Only the records of the last N days; 0 is all time.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, no progress.")]


@app.command()
def up(
    workers: Annotated[
        str,
        typer.Option(metavar="SERVICE=N,...", help=f"How many processes each of {', '.join(SERVICES)} gets."),
    ] = "",
) -> None:
    """Run the whole of Headwater on this machine, in the foreground. Ctrl-C stops it; the data stays."""
    raise typer.Exit(run_stack(load_settings(RunnerSettings), Workers.parse(workers)))


@app.command()
def backfill(
    actor: Annotated[str, typer.Argument(metavar="ACTOR", help="A DID (did:plc:...) or a handle (alice.example.com).")],
    days: Days = 0,
    as_json: Json = False,
) -> None:
    """Fetch one account's whole repo from its PDS into Postgres, and show how it goes.

    Exits with 0 when it is done, 1 when it failed or was cancelled, 130 after Ctrl-C (which asks whether to cancel).
    """
    raise typer.Exit(backfill_actor(load_settings(RunnerSettings), actor, days, as_json=as_json))


@app.command("import")
def import_(
    car: Annotated[Path, typer.Argument(metavar="FILE.car", help="A repo as a CAR file, as apps export it.")],
    did_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Verify against this did:key, not the one in the DID document.")
    ] = None,
    days: Days = 0,
    as_json: Json = False,
) -> None:
    """Put the repo in a CAR file into Postgres, verified like one that was fetched. Exits like `backfill`."""
    raise typer.Exit(import_file(load_settings(RunnerSettings), car, did_key, days, as_json=as_json))


@app.command()
def cancel(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="The job's id, as the other commands say it.")],
) -> None:
    """Ask for a job to stop. What is written stays."""
    cancel_job(load_settings(RunnerSettings), job_id)


@app.command()
def status(as_json: Json = False) -> None:
    """Show services with their rates, lag per stream and partition, the firehose with its gaps, and jobs."""
    show_status(load_settings(RunnerSettings), as_json=as_json)


@firehose.command("status")
def firehose_status(as_json: Json = False) -> None:
    """Show what was asked for, the live tail, replay and crawl with rates and time left, and open gaps."""
    show_firehose(load_settings(RunnerSettings), as_json=as_json)


@firehose.command("start")
def firehose_start(
    days: Annotated[int, typer.Option(min=-1, max=3650, help="Days of everybody's history; -1 is everything, 0 none.")],
    as_json: Json = False,
) -> None:
    """Begin the history again with other days, while everything goes on. It stays so until BACKFILL_DAYS changes."""
    start_history(load_settings(RunnerSettings), days, as_json=as_json)


@firehose.command("pause")
def firehose_pause(as_json: Json = False) -> None:
    """Let replay, crawl and the closing of gaps rest; the live tail goes on."""
    pause_history(load_settings(RunnerSettings), as_json=as_json)


@firehose.command("resume")
def firehose_resume(as_json: Json = False) -> None:
    """Go on where it was paused."""
    resume_history(load_settings(RunnerSettings), as_json=as_json)


LetterId = Annotated[int, typer.Argument(metavar="ID", min=1, help="The letter's id, as `list` says it.")]


@dead_letters.command("list")
def dead_letters_list(
    kind: Annotated[str | None, typer.Option(help="record, frame or message.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why it was refused.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, the newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the newest letters, and how many there are of each kind and reason."""
    list_letters(load_settings(RunnerSettings), kind=kind, reason=reason, limit=limit, as_json=as_json)


@dead_letters.command("show")
def dead_letters_show(letter_id: LetterId, as_json: Json = False) -> None:
    """Show one letter: where it is from, and what it says."""
    show_letter(load_settings(RunnerSettings), letter_id, as_json=as_json)


@dead_letters.command("retry")
def dead_letters_retry(letter_id: LetterId, as_json: Json = False) -> None:
    """Publish a message again, or fetch the account's repo anew, and drop the letter."""
    retry_letter(load_settings(RunnerSettings), letter_id, as_json=as_json)


@dead_letters.command("drop")
def dead_letters_drop(letter_id: LetterId) -> None:
    """Drop a letter."""
    drop_letter(load_settings(RunnerSettings), letter_id)


@db.command("url")
def db_url() -> None:
    """Print the Postgres URL, for programs that ask for one."""
    sys.stdout.write(database_url(load_settings(RunnerSettings)) + "\n")


@db.command("psql", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def db_psql(context: typer.Context) -> None:
    """Query the data with psql, which comes along. Further arguments are psql's: `headwater db psql -c 'SELECT 1'`."""
    run_psql(load_settings(RunnerSettings), context.args)


def main() -> None:
    """Run the command line. Exits with 0, 1 (failed), 2 (wrong usage), 78 (wrong setting) or 130 (interrupted)."""
    try:
        app()
    except StackError as error:
        sys.stderr.write(f"headwater: {error}\n")
        raise SystemExit(error.exit_code) from None
