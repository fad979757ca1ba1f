"""Every SQL statement of the indexer, by name: the files of ``sql/``, loaded once.

A file holds one statement. Its stem is the name; its first lines are a comment that says what the statement is for
and what its parameters are.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType

from headwater.errors import InvariantError


def load_statements(folder: Traversable) -> Mapping[str, str]:
    """The statements of ``folder`` by name. Raises InvariantError for a file without comment or statement."""
    found: dict[str, str] = {}
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name, dot, suffix = file.name.partition(".")
        if not dot or suffix != "sql":
            continue
        text = file.read_text(encoding="utf-8").strip()
        if not text.startswith("-- "):
            raise InvariantError(f"{file.name} does not begin with a comment")
        if not any(line and not line.startswith("--") for line in text.splitlines()):
            raise InvariantError(f"{file.name} holds no statement")
        found[name] = text
    return MappingProxyType(found)


SQL = load_statements(files("indexer").joinpath("sql"))
"""The indexer's own statements."""
