"""``python -m api_gateway``: run one gateway process."""

from __future__ import annotations

import sys

from api_gateway.app import create_app
from api_gateway.settings import GatewaySettings
from headwater.logging import configure_logging
from headwater.service import Tasks, run
from headwater.settings import load_settings


def main() -> int:
    """Run until told to stop. Returns the process's exit code."""
    settings = load_settings(GatewaySettings)
    configure_logging(settings.headwater_log_level, settings.headwater_log_style)
    tasks = Tasks()
    app = create_app(settings, tasks)
    return run(app, settings, tasks, host=settings.gateway_host, port=settings.gateway_port)


if __name__ == "__main__":
    sys.exit(main())
