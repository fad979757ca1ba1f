"""What was found of the firehose, as Markdown. Pure."""

from __future__ import annotations

from statistics import median

from bench.results import FRAMES_TARGET, FrameStages, medians
from bench.tables import at_least, table, whole


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
