"""Every SQL statement of the indexer, by name: the files of ``sql/``, loaded once.

A file holds one statement. Its stem is the name; its first lines are a comment that says what the statement is for
and what its parameters are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType

from headwater.errors import InvariantError

_PARAMETER = re.compile(r"\$(\d+)")


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


def together(statements: Mapping[str, str], *names: str) -> str:
    """Several of the statements as one, so that they cost one round trip; their parameters follow one another.

    None sees what another one does (https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING),
    so this is for statements that touch different rows. Each is one command without a WITH of its own.
    """
    parts: list[str] = []
    taken = 0
    for name in names:
        text = statements[name].rstrip(";")
        parts.append(_shifted(text, taken))
        taken += max(map(int, _PARAMETER.findall(text)), default=0)
    *first, last = parts
    ahead = ",\n".join(f"{name} AS (\n{part}\n)" for name, part in zip(names, first, strict=False))
    return f"WITH {ahead}\n{last};"


def _shifted(text: str, by: int) -> str:
    def number(found: re.Match[str]) -> str:
        return f"${int(found[1]) + by}"

    return _PARAMETER.sub(number, text)


SQL = load_statements(files("indexer").joinpath("sql"))
"""The indexer's own statements."""
