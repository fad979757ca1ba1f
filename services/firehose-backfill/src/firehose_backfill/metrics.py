"""What firehose-backfill counts. Each help text says what to conclude."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_PREFIX = "headwater_firehose_backfill"

FRAMES = Counter(
    f"{_PREFIX}_frames_total",
    "Frames read, by lane and kind. 'other' belongs to other workers, 'excluded' to EXCLUDE_DIDS. Flat: the relay is"
    " silent, or the bus is full.",
    ["lane", "kind"],
)
FRAMES_REJECTED = Counter(
    f"{_PREFIX}_frames_rejected_total",
    "Frames that could not be read, by reason; they were skipped. Many: the relay, or we, do not follow the lexicon.",
    ["reason"],
)
UNKNOWN_FRAMES = Counter(
    f"{_PREFIX}_unknown_frames_total", "Frames of a kind that this version does not know. Growing: it is outdated."
)
COMMITS = Counter(
    f"{_PREFIX}_commits_total",
    "Verified commits; 'legacy' ones name no root before, so that deletions can be hidden in them.",
    ["form"],
)
REFUSED = Counter(
    f"{_PREFIX}_refused_total",
    "Commits and #syncs refused, by reason; each of their repos is fetched anew. A jump after an update of ours:"
    " suspect us, not them.",
    ["reason"],
)
RECORDS_REJECTED = Counter(
    f"{_PREFIX}_records_rejected_total", "Records refused, by reason; their siblings went on.", ["reason"]
)
LOOKUPS = Counter(
    f"{_PREFIX}_lookups_total",
    "Identities looked up, by outcome. 'no answer' that grows: the PLC directory is away, and events wait.",
    ["outcome"],
)
LOOKUPS_WAITING = Gauge(
    f"{_PREFIX}_lookups_waiting", "Accounts whose events wait for a key. Always many: the PLC directory is too slow."
)
IN_FLIGHT_BYTES = Gauge(
    f"{_PREFIX}_in_flight_bytes",
    "Bytes of frames read and not yet safe on the bus. At HEADWATER_FIREHOSE_BYTES: the bus or the directory is slow,"
    " and the relay waits.",
    ["lane"],
)
IN_FLIGHT_EVENTS = Gauge(
    f"{_PREFIX}_in_flight_events",
    "Events behind the oldest one that is not safe yet: what a crash reads again.",
    ["lane"],
)
PUBLISH_SECONDS = Histogram(
    f"{_PREFIX}_publish_seconds",
    "Seconds from publishing a batch to its PubAck. Long: JetStream's disk, or a full stream, is the bottleneck.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30, 120),
)
PUBLISH_WAITS = Counter(
    f"{_PREFIX}_publish_waits_total",
    "Publishes that had to be repeated. 'stream full': the indexer is the bottleneck; 'bus away': NATS was gone;"
    " 'bus refuses': JetStream lacks a disk or a leader.",
    ["cause"],
)
BATCH_EVENTS = Histogram(
    f"{_PREFIX}_batch_events",
    "Events in a message. Mostly one: little happens.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200),
)
DISCONNECTS = Counter(
    f"{_PREFIX}_disconnects_total",
    "Ends of connections to a relay, by relay and cause. Growing steadily: we are too slow for it, or it is unwell.",
    ["relay", "cause"],
)
LAG_SECONDS = Gauge(
    f"{_PREFIX}_lag_seconds", "Age of the newest event that is safe on the bus. Growing: we do not keep up."
)
GAPS = Counter(
    f"{_PREFIX}_gaps_total", "Stretches of the firehose that nobody saw, by kind; crawls close them.", ["kind"]
)
