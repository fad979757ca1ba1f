"""Bringing the database's schema to this version, safely when several workers start at once.

``migrations/`` is applied in order of its names, then ``collections/``, then ``visibility/``, which is about all
collections' views: each file once, in a transaction of its own,
recorded with its checksum. Files are never edited after a release; a changed one is an InvariantError.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

import asyncpg

from headwater.errors import InvariantError

log = logging.getLogger("indexer.migrate")

MIGRATION_LOCK = 0x4877_0001
"""The key of the advisory lock that a worker holds while it migrates."""

_FOLDERS = ("migrations", "collections", "visibility")
_RECORDED = """
CREATE TABLE IF NOT EXISTS schema_migration (
    name       text PRIMARY KEY,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True)
class Migration:
    """One file: ``folder/name``, and its text."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        """The SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations(package: Traversable | None = None) -> list[Migration]:
    """All files in the order in which they are applied."""
    root = package or files("indexer")
    return [file for folder in _FOLDERS for file in _of_folder(root, folder)]


def _of_folder(root: Traversable, folder: str) -> list[Migration]:
    entries = sorted(root.joinpath(folder).iterdir(), key=lambda entry: entry.name)
    return [Migration(f"{folder}/{e.name}", e.read_text(encoding="utf-8")) for e in entries if e.name.endswith(".sql")]


async def migrate(connection: asyncpg.Connection, wanted: list[Migration] | None = None) -> list[str]:
    """Apply what is missing; returns the names applied.

    Waits while another worker migrates. Raises InvariantError when an applied file has changed.
    """
    await connection.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
    try:
        return await _apply(connection, migrations() if wanted is None else wanted)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", MIGRATION_LOCK)


async def _apply(connection: asyncpg.Connection, wanted: list[Migration]) -> list[str]:
    await connection.execute(_RECORDED)
    recorded = {row["name"]: row["checksum"] for row in await connection.fetch("SELECT * FROM schema_migration")}
    applied = []
    for migration in wanted:
        if migration.name not in recorded:
            async with connection.transaction():
                await connection.execute(migration.text)
                await connection.execute(
                    "INSERT INTO schema_migration (name, checksum) VALUES ($1, $2)", migration.name, migration.checksum
                )
            log.info("applied %s", migration.name)
            applied.append(migration.name)
        elif recorded[migration.name] != migration.checksum:
            raise InvariantError(f"{migration.name} was applied with another content; add a new file instead")
    return applied
