"""A job's progress in numbers: how much is done, how fast, how long still. Pure: statuses in, values out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from headwater.bus.jobs import JobState, JobStatus

_WINDOW_SECONDS = 10.0


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` (None: not known yet) in ``unit``; ``rate`` per second; ``left`` in seconds."""

    unit: str
    done: int
    total: int | None
    rate: float | None
    left: float | None


class ProgressMeter:
    """Measures one job over a sliding window of ten seconds, in records once their number is known, else in bytes."""

    def __init__(self) -> None:
        self._unit = ""
        self._samples: deque[tuple[float, int]] = deque()

    def measure(self, status: JobStatus, now: float) -> Progress:
        """The progress at ``now`` (seconds on a clock that only goes forward)."""
        unit, done, total = _extent(status)
        if unit != self._unit or (self._samples and done < self._samples[-1][1]):
            self._samples.clear()  # another phase, or another attempt: what was measured says nothing about it
            self._unit = unit
        self._samples.append((now, done))
        while now - self._samples[0][0] > _WINDOW_SECONDS and len(self._samples) > 2:
            self._samples.popleft()
        rate = self._rate()
        left = (total - done) / rate if rate and total is not None else None
        return Progress(unit, done, total, rate, left)

    def _rate(self) -> float | None:
        (first_at, first), (last_at, last) = self._samples[0], self._samples[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else None


def _extent(status: JobStatus) -> tuple[str, int, int | None]:
    if status.records_total is not None and status.state is not JobState.RESOLVING:
        return "records", status.records_written, status.records_total
    return "bytes", status.bytes_fetched, status.bytes_total


def summary(status: JobStatus) -> str:
    """One line on a job that has ended, for people."""
    who = f"{status.handle} ({status.did})" if status.handle else status.did
    if status.state is JobState.CANCELLED:
        return f"cancelled: {who}; {status.records_written:,} records that were written stay"
    if status.state is JobState.FAILED:
        return f"failed: {who}: {': '.join(filter(None, (status.reason, status.detail))) or 'no reason given'}"
    if status.unchanged:
        return f"done: {who} has not changed since rev {status.rev}"
    return f"done: {who} at rev {status.rev}: {_amounts(status)}"


def _amounts(status: JobStatus) -> str:
    parts = [f"{status.records_written:,} records written"]
    if status.records_deleted:
        parts.append(f"{status.records_deleted:,} deleted")
    if status.rejected:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(status.rejected.items()))
        parts.append(f"{sum(status.rejected.values()):,} rejected ({reasons})")
    if status.finished_at_us is not None:
        parts.append(f"{(status.finished_at_us - status.requested_at_us) / 1e6:.1f} s")
    return ", ".join(parts)
