"""What an index of a repo must hold: the other side of every comparison."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from .dagcbor import cid_text, decode, to_json
from .repo import Repo, Stored
from .tid import is_tid, tid_us

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: 2022-01-01T00:00:00Z. There was no network before: an rkey of that time only looks like a TID.
_FIRST_TID_US = 1_640_995_200_000_000
_DATETIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")


class Row(NamedTuple):
    """A record in an index: CID text and JSON value, U+0000 replaced by U+FFFD."""

    cid: str
    value: Any


class ExpectedRepo(NamedTuple):
    """What an index must know of an account in the end.

    `rows` are all its records, `due` the keys of those within the cutoff. A deleted account has neither; one that is
    `hidden` may keep any rows, and none of them may show.
    """

    did: str
    handle: str
    status: str
    rows: dict[tuple[str, str], Row]
    due: set[tuple[str, str]]

    @property
    def hidden(self) -> bool:
        return self.status not in ("active", "deleted")

    def as_line(self) -> dict[str, Any]:
        """As JSON, for another process."""
        rows = [
            [collection, rkey, *row, (collection, rkey) in self.due] for (collection, rkey), row in self.rows.items()
        ]
        return {"did": self.did, "handle": self.handle, "status": self.status, "rows": rows}

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> ExpectedRepo:
        """The other way round."""
        rows = {(collection, rkey): Row(cid, value) for collection, rkey, cid, value, _ in line["rows"]}
        due = {(collection, rkey) for collection, rkey, _, _, due in line["rows"] if due}
        return cls(line["did"], line["handle"], line["status"], rows, due)


def rows(records: Iterable[tuple[bytes, Stored]], cutoff_us: int | None) -> Iterator[tuple[tuple[str, str], Row]]:
    """((collection, rkey), row) of each valid record that is not older than the cutoff (microseconds)."""
    for key, stored in records:
        if not stored.valid:
            continue
        collection, _, rkey = key.decode().partition("/")
        value = decode(stored.block)
        if cutoff_us is None or in_scope(value, rkey, cutoff_us):
            yield (collection, rkey), Row(cid_text(stored.cid), to_json(value))


def cids(repo: Repo) -> Iterator[tuple[tuple[str, str], str]]:
    """((collection, rkey), CID text) of each valid record, read off the keys of the repo."""
    invalid = repo.invalid_keys()
    for key, cid in repo.listing():
        if key not in invalid:
            collection, _, rkey = key.decode().partition("/")
            yield (collection, rkey), cid_text(cid)


def in_scope(record: Mapping[str, Any], rkey: str, cutoff_us: int) -> bool:
    """Whether a record's effective time, the earlier of createdAt and its TID, is at or after the cutoff.

    A record with neither is always in scope.
    """
    times = [tid_us(rkey)] if is_tid(rkey) and tid_us(rkey) >= _FIRST_TID_US else []
    created = _parse(record.get("createdAt"))
    if created is not None:
        times.append(created)
    return not times or min(times) >= cutoff_us


def _parse(text: object) -> int | None:
    """Microseconds since the epoch, None for what is no datetime of the specification."""
    match = _DATETIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    whole, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(whole + zone)
    except ValueError:
        return None
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + int(((fraction or "") + "000000")[:6])
