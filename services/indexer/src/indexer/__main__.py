"""``python -m indexer`` runs one worker of the service."""

from __future__ import annotations

import sys

from headwater.logging import configure_logging
from headwater.service import Tasks, run
from headwater.settings import load_settings
from indexer.app import build
from indexer.settings import IndexerSettings


def main() -> int:
    """Run until told to stop; returns the exit code."""
    settings = load_settings(IndexerSettings)
    configure_logging(settings.headwater_log_level, settings.headwater_log_style)
    tasks = Tasks()
    return run(build(settings, tasks), settings, tasks)


if __name__ == "__main__":
    sys.exit(main())
