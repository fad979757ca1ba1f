"""How a job that is followed looks on stderr: a bar on a terminal, a line for each new state elsewhere, or nothing."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.filesize import decimal
from rich.live import Live
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from headwater.bus.jobs import JobState, JobStatus
from headwater_local.progress import Progress, ProgressMeter


class Display(Protocol):
    """Shows a job while it runs; a context manager."""

    def show(self, status: JobStatus) -> None:
        """The job as it is now."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Silence:
    """Shows nothing, for scripts that want JSON only."""

    def show(self, status: JobStatus) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


class Lines(Silence):
    """One line whenever the state, or the reason to wait, changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = ""

    def show(self, status: JobStatus) -> None:
        """A line, if there is news."""
        text = _state_text(status)
        if text != self._said and not status.state.final:
            self._said = text
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Bar:
    """Two lines that move: state, bar and time left; bytes fetched, records published and written, rate."""

    def __init__(self, console: Console) -> None:
        self._meter = ProgressMeter()
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[left]}", markup=False),
        )
        self._task = self._bars.add_task("queued", total=None, left="")
        self._amounts = Text(no_wrap=True, overflow="ellipsis")
        self._live = Live(Group(self._bars, self._amounts), console=console, refresh_per_second=10)

    def show(self, status: JobStatus) -> None:
        """Move the bar."""
        progress = self._meter.measure(status, time.monotonic())
        done = status.state is JobState.DONE
        total = max(progress.done, 1) if done else progress.total
        left = "" if done or progress.left is None else f"{progress.left:.0f} s left"
        self._bars.update(
            self._task,
            description=_state_text(status),
            total=total,
            completed=total if done else progress.done,
            left=left,
        )
        self._amounts.plain = "  " + _amounts(status, progress)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()


def display_for(console: Console, *, quiet: bool) -> Display:
    """The display that fits: none where only JSON is wanted, a bar on a terminal, lines in a log."""
    if quiet:
        return Silence()
    return Bar(console) if console.is_terminal else Lines(console)


def _state_text(status: JobStatus) -> str:
    text = f"{status.handle or status.actor} {status.state}"
    if status.reason is not None and not status.state.final:
        text += f" again, after try {status.attempt} failed ({status.detail or status.reason})"
    return text


def _amounts(status: JobStatus, progress: Progress) -> str:
    parts = [decimal(status.bytes_fetched)] if status.bytes_fetched else []
    if status.records_total is not None:
        parts.append(f"{status.records_published:,} published")
        parts.append(f"{status.records_written:,} of {status.records_total:,} written")
    if progress.rate:
        parts.append(
            f"{progress.rate:,.0f} records/s" if progress.unit == "records" else f"{decimal(int(progress.rate))}/s"
        )
    return " · ".join(parts)
