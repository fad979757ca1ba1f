"""A job as the page shows it: what it does now, how far each phase is, how fast, how long still; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from api_gateway.panel.collection_names import collection_name
from api_gateway.panel.words import STATES, Words, words_of
from headwater.bus.jobs import JobState, JobStatus

_MEGABYTE: Final = 1_000_000
_MINUTE: Final = 60
_HOUR: Final = 3600
_COLLECTIONS_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Phase:
    """One bar: ``done`` of ``total`` units; ``total`` is None while nobody knows it."""

    name: str
    done: int
    total: int | None
    said: str

    @property
    def percent(self) -> int | None:
        """How far it is, in whole percent, rounded down so that 100 is all of it; None when the total is not known."""
        if self.total is None:
            return None
        return 100 if self.done >= self.total else int(100 * self.done / self.total)


@dataclass(frozen=True, slots=True)
class JobView:
    """What the page says of one job. ``brought``: records by the names of its largest collections."""

    job: JobStatus
    headline: str
    scope: str
    phases: tuple[Phase, ...]
    pace: str
    words: Words | None
    asked_at: str
    brought: tuple[tuple[str, int], ...]

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self.job.state.final


def view(job: JobStatus, now_us: int) -> JobView:
    """The view of a job at a moment (microseconds since 1970)."""
    return JobView(
        job=job,
        headline=_headline(job),
        scope=scope(job.days),
        phases=_phases(job),
        pace=_pace(job, now_us),
        words=None if job.reason is None else words_of(job.reason.value),
        asked_at=moment(job.requested_at_us),
        brought=_brought(job),
    )


def scope(days: int) -> str:
    """How far back a job reaches."""
    return "all time" if days == 0 else "the last day" if days == 1 else f"the last {days} days"


def moment(at_us: int | None) -> str:
    """A time for people, UTC."""
    return "" if at_us is None else f"{datetime.fromtimestamp(at_us / 1_000_000, UTC):%Y-%m-%d %H:%M} UTC"


def day(at_us: int | None) -> str:
    """The day of a time, UTC."""
    return "" if at_us is None else f"{datetime.fromtimestamp(at_us / 1_000_000, UTC):%Y-%m-%d}"


def megabytes(size: int) -> str:
    """A size for people."""
    return f"{size / 1000:.1f} kB" if size < _MEGABYTE // 10 else f"{size / _MEGABYTE:.1f} MB"


def duration(seconds: float) -> str:
    """A span of time for people, in its largest unit or two."""
    whole = max(1, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def _headline(job: JobStatus) -> str:
    if job.cancel_requested and not job.state.final:
        return "Stopping"
    if job.state is JobState.QUEUED and job.next_try_at_us is not None:
        return f"Waiting to try again at {datetime.fromtimestamp(job.next_try_at_us / 1_000_000, UTC):%H:%M:%S} UTC"
    if job.state is JobState.DONE and job.unchanged:
        return "Done: nothing had changed"
    return STATES[job.state]


def _phases(job: JobStatus) -> tuple[Phase, ...]:
    fetched_all = job.state is JobState.INDEXING or job.records_total is not None
    size = job.bytes_fetched if fetched_all else job.bytes_total
    of_size = f" of {megabytes(size)}" if size is not None and not fetched_all else ""
    records = job.records_total
    of_records = "" if records is None else f" of {records:,}"
    return (
        Phase("Fetched", job.bytes_fetched, size, megabytes(job.bytes_fetched) + of_size),
        Phase("Published", job.records_published, records, f"{job.records_published:,}{of_records} records"),
        Phase("Written", job.records_written, records, f"{job.records_written:,}{of_records} records"),
    )


def _brought(job: JobStatus) -> tuple[tuple[str, int], ...]:
    """What a job has brought of the largest collections, in plain words."""
    largest = sorted(job.collections.items(), key=lambda one: (-one[1], one[0]))[:_COLLECTIONS_SHOWN]
    return tuple((collection_name(name).lower() or name, count) for name, count in largest)


def _pace(job: JobStatus, now_us: int) -> str:
    """Rate and time left, once there is something to measure."""
    if job.started_at_us is None or job.records_written == 0:
        return ""
    end_us = job.finished_at_us if job.finished_at_us is not None else now_us
    seconds = max(0.001, (end_us - job.started_at_us) / 1_000_000)
    if job.state.final:
        return f"took {duration(seconds)}"
    rate = job.records_written / seconds
    said = f"{rate:,.0f} records/s"
    if job.records_total is None or job.records_total <= job.records_written:
        return said
    return f"{said}, about {duration((job.records_total - job.records_written) / rate)} left"
