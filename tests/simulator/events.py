"""What is told of an account on a firehose, and the message that tells it.

Source: the lexicon com.atproto.sync.subscribeRepos, https://atproto.com/specs/event-stream
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Literal

from . import car
from .commits import Carried, Commits
from .dagcbor import Link, encode
from .repo import Change
from .tid import iso

Status = Literal["active", "deactivated", "suspended", "takendown", "deleted"]


@dataclass(slots=True)
class Message:
    """A message before it is encoded, for a fault to spoil: kind, body without `seq`, and blocks, the commit first.

    `extra` are blocks' (CID, block) that go behind those; `op` and `kind` make the header.
    """

    kind: str
    body: dict[str, Any]
    blocks: list[tuple[bytes, bytes]] | None = None
    op: int = 1
    extra: list[tuple[bytes, bytes]] = field(default_factory=list)

    def encode(self, seq: int) -> bytes:
        """The bytes of the websocket message."""
        body = self.body | {"seq": seq}
        if self.blocks is not None:
            body["blocks"] = car_of([*self.blocks, *self.extra])
        return encode({"op": self.op, "t": self.kind}) + encode(body)


@dataclass(frozen=True, slots=True)
class Event(ABC):
    """Something that happened to an account, at a time of the world's clock (microseconds)."""

    did: str
    time_us: int

    @abstractmethod
    def message(self) -> Message:
        """The message, as an honest host sends it."""


@dataclass(frozen=True, slots=True)
class Committed(Event):
    """A commit: a #commit, or a #sync where it exceeds the lexicon's limits."""

    commits: Commits
    rev: str

    def message(self) -> Message:
        carried = self.commits.carried(self.rev)
        if not carried.fits:
            return _sync(self, carried)
        body = {
            "repo": self.did,
            "time": iso(self.time_us),
            "rev": self.rev,
            "since": carried.since,
            "commit": Link(carried.signed.cid),
            "ops": [_op(change) for change in carried.changes],
            "blobs": [],
            "rebase": False,
            "tooBig": False,
        }
        if carried.prev_data is not None:
            body["prevData"] = Link(carried.prev_data)
        blocks = [(carried.signed.cid, carried.signed.block), *carried.nodes, *carried.records]
        return Message("#commit", body, blocks)


@dataclass(frozen=True, slots=True)
class Synced(Event):
    """The repo is at this commit now, whatever it was before."""

    commits: Commits
    rev: str

    def message(self) -> Message:
        return _sync(self, self.commits.carried(self.rev))


@dataclass(frozen=True, slots=True)
class IdentityChanged(Event):
    """The DID document or handle may be another one; hosts need not name the handle."""

    handle: str | None

    def message(self) -> Message:
        named = {} if self.handle is None else {"handle": self.handle}
        return Message("#identity", {"did": self.did, "time": iso(self.time_us)} | named)


@dataclass(frozen=True, slots=True)
class StatusChanged(Event):
    """The account's status at its host."""

    status: Status

    def message(self) -> Message:
        active = self.status == "active"
        reason = {} if active else {"status": self.status}
        return Message("#account", {"did": self.did, "time": iso(self.time_us), "active": active} | reason)


def car_of(blocks: list[tuple[bytes, bytes]]) -> bytes:
    """A CAR of these blocks in memory; the first one is the root."""
    out = BytesIO()
    car.write(out, blocks[0][0], blocks)
    return out.getvalue()


def _sync(event: Committed | Synced, carried: Carried) -> Message:
    body = {"did": event.did, "time": iso(event.time_us), "rev": event.rev}
    return Message("#sync", body, [(carried.signed.cid, carried.signed.block)])


def _op(change: Change) -> dict[str, Any]:
    action = "create" if change.before is None else "delete" if change.after is None else "update"
    cid = None if change.after is None else Link(change.after.cid)
    op: dict[str, Any] = {"action": action, "path": change.key.decode(), "cid": cid}
    return op if change.before is None else op | {"prev": Link(change.before.cid)}
