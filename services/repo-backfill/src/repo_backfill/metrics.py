"""What repo-backfill counts. Each help text says what to conclude."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_PREFIX = "headwater_repo_backfill"

JOBS_ENDED = Counter(
    f"{_PREFIX}_jobs_ended_total",
    "Jobs that ended, by outcome and reason. Failures of one reason that grow say what is wrong out there.",
    ["outcome", "reason"],
)
JOBS_RETRIED = Counter(
    f"{_PREFIX}_jobs_retried_total",
    "Tries that failed and come again. Growing much faster than jobs end: a host or the network is in trouble.",
)
JOBS_HELD = Gauge(
    f"{_PREFIX}_jobs_held",
    "Jobs this worker holds, by state. All indexing: the indexer is behind. All resolving: hosts make them wait.",
    ["state"],
)
FETCH_SECONDS = Histogram(
    f"{_PREFIX}_fetch_seconds",
    "Seconds from asking a PDS for a CAR to its last byte. Long with few bytes: hosts are slow.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600),
)
FETCH_BYTES = Counter(
    f"{_PREFIX}_fetch_bytes_total", "Bytes of CARs read. Flat with jobs in fetching: the network stands still."
)
RECORDS_PUBLISHED = Counter(
    f"{_PREFIX}_records_published_total",
    "Records given to the bus. Faster than the indexer writes for long: the stream fills and publishing waits.",
)
RECORDS_REJECTED = Counter(
    f"{_PREFIX}_records_rejected_total",
    "Records refused, by reason; their siblings went on. A jump after an update of ours: suspect us, not them.",
    ["reason"],
)
PUBLISH_WAITS = Counter(
    f"{_PREFIX}_publish_waits_total",
    "Publishes that had to be repeated. 'stream full': the indexer is the bottleneck; 'bus away': NATS was gone;"
    " 'bus refuses': JetStream lacks a disk or a leader.",
    ["cause"],
)
CAR_MEMORY_BYTES = Gauge(
    f"{_PREFIX}_car_memory_bytes", "Memory that CARs under way take. At its limit: larger ones go to disk."
)
HOSTS_PAUSED = Gauge(
    f"{_PREFIX}_hosts_paused", "Hosts that asked to be left alone or failed repeatedly. Many: our limits are too high."
)
