"""What the historical part of firehose-backfill counts. Each help text says what to conclude."""

from __future__ import annotations

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
