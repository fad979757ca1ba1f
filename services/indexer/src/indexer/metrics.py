"""What the indexer counts. Each help text says what to conclude."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_PREFIX = "headwater_indexer"

ROWS_WRITTEN = Counter(
    f"{_PREFIX}_rows_written_total",
    "Rows sent to Postgres, by lane and way. 'copy' is the fast way; mostly 'merge' in a first import: somebody else "
    "writes to these repos, or the table was filled by another tool.",
    ["lane", "way"],
)
TRANSACTION_SECONDS = Histogram(
    f"{_PREFIX}_transaction_seconds",
    "Seconds of a transaction, by lane. Rising with the same rows a second: Postgres is the bottleneck.",
    ["lane"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
MESSAGES = Counter(
    f"{_PREFIX}_messages_total",
    "Messages settled, by lane and outcome. 'again' that grows: batches of a snapshot are missing.",
    ["lane", "outcome"],
)
RETRIES = Counter(
    f"{_PREFIX}_transaction_retries_total",
    "Transactions tried again after a transient failure. Growing: Postgres or the bus is away, or disks are full.",
    ["lane"],
)
RESYNCS = Counter(
    f"{_PREFIX}_resyncs_total",
    "Repos out of step whose resync was due, by what came of it. 'filed' as fast as commits come: a relay or a host "
    "breaks every chain. 'waits_already' that grows: repo-backfill is behind.",
    ["outcome"],
)
DESYNCHRONIZED = Gauge(
    f"{_PREFIX}_repos_desynchronized",
    "Repos out of step with the firehose, of all workers. Some for a short while: late commits. Growing: resyncs fail, "
    "or there are more breaks than repo-backfill can fetch.",
)
DEAD_LETTERS = Counter(
    f"{_PREFIX}_dead_letters_total", "What could not be used, by kind and reason. Any: look at it.", ["kind", "reason"]
)
BYTES_HELD = Gauge(
    f"{_PREFIX}_bytes_held",
    "Bytes of messages taken and not settled yet, by lane. At its limit: writing is behind.",
    ["lane"],
)
LAG_SECONDS = Gauge(
    f"{_PREFIX}_lag_seconds", "How long the oldest message of the last transaction had waited, by lane.", ["lane"]
)
PARTITIONS_OWNED = Gauge(
    f"{_PREFIX}_partitions_owned", "Partitions this worker owns. Fewer than its share: another process owns them."
)


def value(metric: Counter | Gauge) -> float:
    """What a metric stands at."""
    return next(
        (
            sample.value
            for family in metric.collect()
            for sample in family.samples
            if not sample.name.endswith("_created")
        ),
        0.0,
    )
