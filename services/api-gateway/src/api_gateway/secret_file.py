"""Secrets that a gateway makes at its first start and keeps in HEADWATER_HOME."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("api_gateway.secrets")


def read_or_make(path: Path, make: Callable[[], str]) -> str:
    """The content of a file, stripped; where there is none, one with what ``make`` gives, mode 0600.

    Several gateways may start at once: the file appears whole or not at all, and the first one's stays.
    Raises OSError when it cannot be made or read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _create(path, make())
    if path.stat().st_mode & 0o077:
        log.warning("others could read %s; its mode is 0600 now", path)
        path.chmod(0o600)
    return path.read_text().strip()


def _create(path: Path, content: str) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content.strip() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            log.debug("another gateway made %s first", path.name)
    finally:
        draft.unlink()
