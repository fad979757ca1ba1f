"""``python -m repo_backfill`` runs one worker of the service."""

from __future__ import annotations

import sys

from headwater.logging import configure_logging
from headwater.priority import give_way
from headwater.service import Tasks, run
from headwater.settings import load_settings
from repo_backfill.app import build
from repo_backfill.settings import RepoBackfillSettings

_NICE = 19
"""History can wait for live events: a large repo would otherwise keep every core from those that carry them."""


def main() -> int:
    """Run until told to stop; returns the exit code."""
    settings = load_settings(RepoBackfillSettings)
    configure_logging(settings.headwater_log_level, settings.headwater_log_style)
    give_way(_NICE)
    tasks = Tasks()
    return run(build(settings, tasks), settings, tasks)


if __name__ == "__main__":
    sys.exit(main())
