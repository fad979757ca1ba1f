"""``headwater up``: the whole stack in the foreground, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

from headwater_local.errors import EXIT_INTERRUPTED
from headwater_local.output import Output
from headwater_local.services import Workers
from headwater_local.settings import RunnerSettings
from headwater_local.stack import Stack
from headwater_local.stack_file import end_leftovers, locked_home


def run_stack(settings: RunnerSettings, workers: Workers) -> int:
    """Run the stack of ``settings`` until SIGINT or SIGTERM; a second one kills what has not stopped yet.

    Returns the exit code: 0 after an orderly stop, 130 after killing. Raises StackError when the stack cannot run.
    """
    output = Output(routine=settings.headwater_log_level == "debug")
    with locked_home(settings.headwater_home):
        left = end_leftovers(settings.headwater_home)
        if left:
            output.say(f"ended what a crash had left running: {', '.join(left)}")
        return asyncio.run(_run(Stack(settings, workers, output), output))


async def _run(stack: Stack, output: Output) -> int:
    stop_asked = asyncio.Event()
    killed = asyncio.Event()

    def on_signal() -> None:
        if stop_asked.is_set():
            output.say("killing everything")
            killed.set()
            stack.kill()
        else:
            output.say("stopping; once more kills")
            stop_asked.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    stop = asyncio.create_task(stop_asked.wait())
    failed = asyncio.create_task(stack.failed())
    start = asyncio.create_task(stack.start())
    try:
        await asyncio.wait({start, stop, failed}, return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            start.result()
            _announce(stack)
            await asyncio.wait({stop, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
    finally:
        for task in (start, stop, failed):
            task.cancel()
        await stack.stop()
        output.say("stopped")
    return EXIT_INTERRUPTED if killed.is_set() else 0


def _announce(stack: Stack) -> None:
    """On stdout, the log being on stderr: what to do with the stack now that it is ready."""
    command = _command(stack.home)
    lines = (
        f"Headwater is ready: {stack.gateway_url}",
        f"  your own data  {stack.gateway_url}/user",
        f"  operators      {stack.gateway_url}/admin, with the token in {stack.home / 'operator-token'}",
        f"  API            {stack.gateway_url}/docs",
        f"  state          {stack.home}",
        "In another shell:",
        f"  fetch a repo   {command} backfill HANDLE",
        f"  query it       {command} db psql",
        f"  see how it is  {command} status",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _command(home: Path) -> str:
    """What to type, in this directory, for a command on this very home."""
    own = Path(sys.executable).parent / "headwater"
    name = "headwater" if shutil.which("headwater") == str(own) else os.path.relpath(own)
    return name if home == Path(".headwater").absolute() else f"HEADWATER_HOME={home} {name}"
