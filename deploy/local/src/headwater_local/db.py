"""``headwater db``: what a person needs to query the data."""

from __future__ import annotations

from headwater_local.settings import RunnerSettings
from headwater_local.stack_file import running_stack


def database_url(settings: RunnerSettings) -> str:
    """The Postgres URL of the running stack, or the one that is set. Raises StackError when there is neither."""
    return settings.database_url or running_stack(settings.headwater_home).database_url
