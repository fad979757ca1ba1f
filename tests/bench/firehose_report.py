"""What was found of the firehose, as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from bench.results import (
    BESIDE_TARGET,
    FRAMES_TARGET,
    LIVE_TARGET,
    P99_TARGET_SECONDS,
    VERIFIER,
    FrameStages,
    Latency,
    Live,
    medians,
)
from bench.tables import at_least, at_most, table, whole


def firehose_report(frames: FrameStages, live: Live) -> str:
    """The report of the firehose alone."""
    head = ("what", "measured", "beside", "comes to", "target", "", "runs")
    targets = table(head, [frames_target(frames), *live_targets(live)])
    return "\n\n".join((targets, frames_section(frames), live_section(live)))


def frames_target(frames: FrameStages) -> tuple[str, ...]:
    """The row of the targets' table."""
    rate = frames.frames / median(frames.whole)
    return (
        "commits of the firehose verified, a second and core, frame to PubAck",
        whole(rate),
        "",
        f"{whole(frames.frames / median(frames.cpu))} by CPU time",
        f"≥ {whole(FRAMES_TARGET)}",
        at_least(rate, FRAMES_TARGET),
        str(len(frames.whole)),
    )


def frames_section(frames: FrameStages) -> str:
    """What each check costs."""
    alone = medians(frames.stages)
    together = median(frames.whole)
    costs = [(name, seconds) for name, seconds in alone.items()]
    rows = [(name, f"{seconds / frames.frames * 1e6:.1f}", whole(frames.frames / seconds)) for name, seconds in costs]
    rows.append(
        ("all at once, frame to PubAck", f"{together / frames.frames * 1e6:.1f}", whole(frames.frames / together))
    )
    cpu = median(frames.cpu)
    return (
        f"Frames of the firehose in one process, {frames.frames:,} signed commits of "
        f"{frames.bytes / frames.frames:,.0f} bytes each: every part alone over all frames, then frame by frame all of "
        f"it, which took {cpu / frames.frames * 1e6:.1f} µs of the process's CPU time a frame. NATS is another "
        "process.\n\n" + table(("stage", "µs a frame", "frames/s"), rows)
    )


def live_targets(live: Live) -> Iterable[tuple[str, ...]]:
    """The rows of the targets' table: commits a second, and latencies."""
    rate, verified = median(run.rate for run in live.runs), median(run.by_cpu(VERIFIER) for run in live.runs)
    target = f"≥ {whole(LIVE_TARGET)}"
    yield (
        "the same by the whole service, a second of its CPU time, socket to PubAck",
        *(whole(verified), "", "", f"≥ {whole(FRAMES_TARGET)}", at_least(verified, FRAMES_TARGET), str(len(live.runs))),
    )
    yield (
        "commits of the firehose a second, relay to committed rows",
        *(whole(rate), "", "", target, at_least(rate, LIVE_TARGET), str(len(live.runs))),
    )
    p99, beside = _percentile(live.alone, 0.99), _percentile(live.beside, 0.99)
    yield (
        f"relay to committed row at {whole(live.alone[0].rate)} commits/s, p99",
        *(_milliseconds(p99), f"p50 {_milliseconds(_p50(live.alone))}", ""),
        *(f"≤ {_milliseconds(P99_TARGET_SECONDS)}", at_most(p99, P99_TARGET_SECONDS), str(len(live.alone))),
    )
    yield (
        f"the same beside an import of {live.imports[0].records:,} records, p99",
        *(_milliseconds(beside), f"alone {_milliseconds(p99)}", f"{beside / p99:.1f} ×"),
        *(f"≤ {BESIDE_TARGET:.0f} ×", at_most(beside / p99, BESIDE_TARGET), str(len(live.beside))),
    )


def live_section(live: Live) -> str:
    """Where the CPU time of the live firehose goes."""
    names = {name for run in live.runs for name in run.cpu_seconds}
    spent = {name: median(run.cpu_seconds.get(name, 0.0) / run.commits * 1e6 for run in live.runs) for name in names}
    rows = [(name, f"{cost:.1f}") for name, cost in sorted(spent.items(), key=lambda item: -item[1])]
    runs = ", ".join(whole(run.rate) for run in live.runs)
    pace, imported = whole(live.alone[0].rate), whole(median(done.rate for done in live.imports))
    return (
        f"The live firehose, {live.runs[0].commits:,} commits at full speed, commits/s by run: {runs}. At {pace} "
        f"commits/s the median row was committed {_milliseconds(_p50(live.alone))} after its frame, and "
        f"{_milliseconds(_p50(live.beside))} beside the import, which came to {imported} records/s meanwhile.\n\n"
        + table(("process", "µs of CPU a commit"), rows)
    )


def _percentile(latencies: Iterable[Latency], share: float) -> float:
    return median(latency.at(share) for latency in latencies)


def _p50(latencies: Iterable[Latency]) -> float:
    return _percentile(latencies, 0.5)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"
