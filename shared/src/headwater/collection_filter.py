"""Which collections are wanted: NSIDs and prefixes of them, as ``COLLECTIONS`` names them. Pure.

``app.bsky.feed.post`` is one collection, ``app.bsky.*`` every one below ``app.bsky`` (https://atproto.com/specs/nsid),
and an empty text or ``*`` all there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from headwater.errors import InvalidInputError, Reason
from headwater.syntax import is_nsid

_BELOW = ".*"


class CollectionFilter:
    """A set of collections. Two filters are equal if their ``text`` is."""

    __slots__ = ("_exact", "_prefixes", "text")

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        """No pattern is all collections. Raises InvalidInputError(SYNTAX) for one that is none."""
        wanted = {pattern.strip() for pattern in patterns} - {""}
        if "*" in wanted:
            wanted = set()
        for pattern in wanted:
            # A prefix is at least one whole segment; with a name behind it, it has to make an NSID.
            if not is_nsid(f"{pattern[:-1]}x.x" if pattern.endswith(_BELOW) else pattern):
                raise InvalidInputError(Reason.SYNTAX, f"not a collection or a prefix such as app.bsky.*: {pattern!r}")
        self._exact = frozenset(pattern for pattern in wanted if not pattern.endswith(_BELOW))
        self._prefixes = tuple(sorted(pattern[:-1] for pattern in wanted if pattern.endswith(_BELOW)))
        self.text = ",".join(sorted(wanted))
        """The patterns in one order, comma-separated; empty for all collections."""

    @classmethod
    def parse(cls, text: str) -> CollectionFilter:
        """The filter of a comma-separated list. Raises InvalidInputError(SYNTAX)."""
        return cls(text.split(","))

    def __contains__(self, collection: str) -> bool:
        """Whether a collection is wanted."""
        return not self.text or collection in self._exact or collection.startswith(self._prefixes)

    def covers(self, other: CollectionFilter) -> bool:
        """Whether every collection that ``other`` wants is wanted here as well."""
        if not self.text or not other.text:
            return not self.text
        return all(name in self for name in other._exact) and all(
            prefix.startswith(self._prefixes) for prefix in other._prefixes
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CollectionFilter) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"CollectionFilter({self.text!r})"


ALL_COLLECTIONS: Final = CollectionFilter()
"""The filter that leaves out nothing."""
