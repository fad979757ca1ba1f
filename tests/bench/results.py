"""What was found, as values. Times in seconds, rates in records a second, memory in bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

COPY_TARGET = 0.45
SINGLES_TARGET = 15.0
CHANGED_TARGET = 1.0
FULL_TARGET = 0.8
MEMORY_TARGET = 300_000_000
FRAMES_TARGET = 5_000.0
LIVE_TARGET = 2_500.0
P99_TARGET_SECONDS = 0.5
BESIDE_TARGET = 2.0

VERIFIER = "firehose-backfill.0"
"""Among CPU seconds: the process that verifies the firehose."""

ELSEWHERE = "everything else on the machine"
"""Among CPU seconds: what does not belong to the benchmark. Much of it, and the run says little."""


@dataclass(frozen=True)
class Import:
    """One timed import. ``cpu_seconds`` by process."""

    records: int
    seconds: float
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds


@dataclass
class Race:
    """Imports of one kind, and after each the yardsticks on the same rows, in the order of the runs.

    ``whole_copy_rates`` are of COPY into a table with the partitions and indexes of ``record``.
    """

    name: str
    imports: list[Import] = field(default_factory=list)
    copy_rates: list[float] = field(default_factory=list)
    insert_rates: list[float] = field(default_factory=list)
    whole_copy_rates: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Records a second, the median."""
        return rate(self.imports)

    @property
    def of_copy(self) -> float:
        """The rate over that of COPY, medians."""
        return self.rate / median(self.copy_rates)

    @property
    def of_whole_copy(self) -> float:
        """The rate over that of COPY into such a table as ``record`` is, medians."""
        return self.rate / median(self.whole_copy_rates)

    @property
    def of_inserts(self) -> float:
        """The rate over that of one INSERT at a time, medians."""
        return self.rate / median(self.insert_rates)


@dataclass
class Again:
    """Imports of a repo that is in the table: unchanged, with the requests its PDS saw, and with some of it changed."""

    unchanged: list[Import] = field(default_factory=list)
    requests: list[list[str]] = field(default_factory=list)
    changed: list[Import] = field(default_factory=list)


@dataclass(frozen=True)
class Huge:
    """The import of one very large repo; ``peak_bytes`` by process, over the whole life of the process."""

    done: Import
    peak_bytes: Mapping[str, int]


@dataclass
class Full:
    """Imports of many repos into a table that holds ``rows`` already, and into an ``empty`` one right after."""

    rows: int = 0
    imports: list[Import] = field(default_factory=list)
    empty: list[Import] = field(default_factory=list)


@dataclass
class Stages:
    """Seconds that parts of the path take alone, in one process, for ``records``: a list of runs by stage."""

    records: int
    producer: dict[str, list[float]] = field(default_factory=dict)
    indexer: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class FrameStages:
    """Seconds that parts of the firehose's path take alone for ``frames`` of so many ``bytes`` in all, a list of runs
    by stage; and that the ``whole`` of it takes, frame by frame, by the clock and in ``cpu`` time of the process."""

    frames: int
    bytes: int
    stages: dict[str, list[float]] = field(default_factory=dict)
    whole: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class LiveRun:
    """Commits of the firehose, from the relay to their rows; ``cpu_seconds`` by process."""

    commits: int
    seconds: float
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Commits a second."""
        return self.commits / self.seconds

    def by_cpu(self, process: str) -> float:
        """Commits a second of CPU time of one process."""
        return self.commits / self.cpu_seconds[process]


@dataclass(frozen=True)
class Latency:
    """Seconds from a frame's release to the commit of its row, sorted; frames came at ``rate`` a second."""

    rate: float
    seconds: Sequence[float]

    def at(self, share: float) -> float:
        """What so large a share of the frames did not exceed."""
        return self.seconds[min(len(self.seconds) - 1, int(len(self.seconds) * share))]


@dataclass
class Live:
    """The firehose end to end: at full speed, and at a rate, alone and ``beside`` each of the ``imports``."""

    runs: list[LiveRun] = field(default_factory=list)
    alone: list[Latency] = field(default_factory=list)
    beside: list[Latency] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)


@dataclass(frozen=True)
class Results:
    """Everything that one run of the benchmark has found."""

    machine: Mapping[str, str]
    one: Race
    many: Race
    again: Again
    huge: Huge
    full: Full
    stages: Stages
    frames: FrameStages
    live: Live


def rate(imports: Sequence[Import]) -> float:
    """The median rate."""
    return median(run.rate for run in imports)


def cpu_per_records(imports: Sequence[Import], records: int) -> dict[str, float]:
    """CPU seconds by process for so many records, medians over the runs; the largest first."""
    names = {name for run in imports for name in run.cpu_seconds}
    spent = {name: median(run.cpu_seconds.get(name, 0.0) * records / run.records for run in imports) for name in names}
    return dict(sorted(spent.items(), key=lambda item: -item[1]))


def medians(runs: Mapping[str, Iterable[float]]) -> dict[str, float]:
    """The median of each."""
    return {name: median(values) for name, values in runs.items()}
