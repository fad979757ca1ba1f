"""What the historical part of firehose-backfill counts. Each help text says what to conclude."""

from __future__ import annotations

from math import nan

from prometheus_client import Counter, Gauge

_PREFIX = "headwater_firehose_backfill"

LISTED = Counter(
    f"{_PREFIX}_repos_listed_total",
    "Repos in lists, by what became of them. Mostly malformed: a relay or host has changed its answers.",
    ["outcome"],
)
FILED = Counter(
    f"{_PREFIX}_repos_filed_total",
    "Repos requested of repo-backfill, by lane. Flat while a crawl runs: repo-backfill is behind, or paused.",
    ["lane"],
)
HOSTS_FAILED = Counter(
    f"{_PREFIX}_crawl_hosts_failed_total",
    "Hosts whose list could not be read after several tries. What only they list is missing until the next crawl.",
)
HISTORY_DONE = Gauge(
    f"{_PREFIX}_history_done",
    "1 when the history of the plan is in Postgres, 0 while it is on its way. Absent or 0 for long: see its progress.",
)
REPLAYED = Counter(
    f"{_PREFIX}_replayed_total",
    "Events of the relay's past that were read. Flat while the replay runs: the indexer's replay lane is full.",
)
GAPS_OPEN = Gauge(
    f"{_PREFIX}_gaps_open",
    "Gaps that are not closed. Above 0 for long: the relay cannot be listed, or repo-backfill is behind.",
)
SECONDS_LEFT = Gauge(
    f"{_PREFIX}_seconds_left",
    "Estimated seconds until a piece (replay, crawl, gaps) is done; NaN while nobody can say, 0 when it is. Growing: "
    "the piece is slower than what it has to bring grows.",
    ["piece"],
)
DONE_RATIO = Gauge(
    f"{_PREFIX}_done_ratio",
    "How much of a piece (replay, crawl, gaps) is done, 0 to 1; NaN while nobody can say. Flat: see what it waits for.",
    ["piece"],
)


def tell_progress(piece: str, done: float | None, seconds_left: float | None) -> None:
    """Set both gauges of a piece."""
    DONE_RATIO.labels(piece).set(nan if done is None else min(max(done, 0.0), 1.0))
    SECONDS_LEFT.labels(piece).set(nan if seconds_left is None else seconds_left)
