"""``python -m firehose_backfill`` runs one worker of the service."""

from __future__ import annotations

import logging
import sys

from firehose_backfill.app import build
from firehose_backfill.settings import FirehoseSettings
from headwater.logging import configure_logging
from headwater.service import Tasks, run
from headwater.settings import load_settings

log = logging.getLogger("firehose_backfill")


def main() -> int:
    """Run until told to stop; returns the exit code."""
    settings = load_settings(FirehoseSettings)
    configure_logging(settings.headwater_log_level, settings.headwater_log_style)
    if not settings.relay_urls:
        log.info("RELAY_URLS is not set: no relay is followed")
    tasks = Tasks()
    return run(build(settings, tasks), settings, tasks)


if __name__ == "__main__":
    sys.exit(main())
