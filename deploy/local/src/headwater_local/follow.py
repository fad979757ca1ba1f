"""Follow a job to its end, as ``headwater backfill`` and ``headwater import`` do, and answer Ctrl-C on the way."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.prompt import Confirm

from headwater.bus.jobs import JobState, JobStatus
from headwater_local.display import Display, display_for
from headwater_local.errors import EXIT_FAILED, EXIT_INTERRUPTED
from headwater_local.gateway import Accepted, Gateway, open_gateway
from headwater_local.progress import summary
from headwater_local.settings import RunnerSettings


def request_and_follow(
    settings: RunnerSettings, request: Callable[[Gateway], Awaitable[Accepted]], *, as_json: bool
) -> int:
    """Send ``request``, follow its job, and return the exit code: 0 done, 1 failed or cancelled, 130 interrupted.

    With ``as_json`` stdout gets the final job as one JSON document, and stderr no progress. Raises StackError when
    the gateway refuses or cannot be reached.
    """
    return asyncio.run(_request_and_follow(settings, request, Console(stderr=True), as_json=as_json))


async def _request_and_follow(
    settings: RunnerSettings,
    request: Callable[[Gateway], Awaitable[Accepted]],
    console: Console,
    *,
    as_json: bool,
) -> int:
    async with open_gateway(settings) as gateway:
        accepted = await request(gateway)
        if accepted.already_running:
            _say(console, f"this account's job {accepted.job_id} is running already; following it")
        with display_for(console, quiet=as_json) as display, _interrupts() as interrupted:
            status = await _until_final(gateway, accepted.job_id, display, interrupted)
        if status is None:
            await _offer_cancel(gateway, accepted.job_id, console)
            return EXIT_INTERRUPTED
    if as_json:
        sys.stdout.write(status.model_dump_json() + "\n")
    else:
        _say(console, summary(status))
    return 0 if status.state is JobState.DONE else EXIT_FAILED


async def _until_final(gateway: Gateway, job_id: str, display: Display, interrupted: asyncio.Event) -> JobStatus | None:
    """The job as it ended; None when Ctrl-C came first."""
    follow = asyncio.create_task(_show_all(gateway, job_id, display))
    interrupt = asyncio.create_task(interrupted.wait())
    try:
        await asyncio.wait({follow, interrupt}, return_when=asyncio.FIRST_COMPLETED)
        return follow.result() if follow.done() else None
    finally:
        follow.cancel()
        interrupt.cancel()
        await asyncio.gather(follow, interrupt, return_exceptions=True)


async def _show_all(gateway: Gateway, job_id: str, display: Display) -> JobStatus:
    latest: JobStatus | None = None
    async for status in gateway.follow(job_id):
        latest = status
        display.show(status)
    assert latest is not None  # ``follow`` ends on a final status only
    return latest


@contextmanager
def _interrupts() -> Iterator[asyncio.Event]:
    """An event that Ctrl-C sets, in place of the KeyboardInterrupt that it raises outside of the block."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, event.set)
    try:
        yield event
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def _offer_cancel(gateway: Gateway, job_id: str, console: Console) -> None:
    question = f"Cancel job {job_id}? What is written stays."
    if sys.stdin.isatty() and console.is_terminal and Confirm.ask(question, console=console, default=False):
        await gateway.cancel(job_id)
        _say(console, "asked for it to stop")
    else:
        _say(console, f"job {job_id} goes on; `headwater cancel {job_id}` stops it")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
