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
    if settings.relay_urls:
        log.warning("RELAY_URLS is set, but this version does not follow relays yet: no live events will arrive")
    tasks = Tasks()
    return run(build(settings, tasks), settings, tasks)


if __name__ == "__main__":
    sys.exit(main())
