"""A drawn history of one account: its true state after each step, and the events that tell of it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import msgspec

from headwater.bus.messages import (
    LiveAccount,
    LiveBroken,
    LiveCommit,
    LiveEvent,
    LiveSync,
    Rows,
)
from headwater.chain import EMPTY_TREE
from headwater.clock import now_us
from headwater.errors import Reason
from headwater.tid import tid_from
from indexer_rig import Key, keys, rows

State = dict[Key, int]
OLD: tuple[Key, ...] = (("app.bsky.feed.post", "old"), ("com.example.thing", "old"))
KEYS: tuple[Key, ...] = (("app.bsky.feed.post", "a"), ("app.bsky.feed.like", "b"), *OLD)
_INACTIVE = {"deactivate": "deactivated", "suspend": "suspended", "delete": "deleted"}
_START = now_us() - 86_400_000_000
_accounts = itertools.count()


def time_of(step: int) -> int:
    return _START + step * 1_000_000


def root_of(state: State) -> str:
    """As with the real thing, the root is the state's: what undoes itself leaves no gap."""
    return f"root {sorted(state.items())}" if state else EMPTY_TREE


def created_at(key: Key, value: int) -> int:
    """Some keys' records bear an old date, so that only a snapshot of the whole repo has them in its scope."""
    return time_of(value) - (3_600_000_000 if key in OLD else 0)


def rows_of(state: State) -> Rows:
    dates = [created_at(key, state[key]) for key in sorted(state)]
    return msgspec.structs.replace(rows(state), created_at=dates)


@dataclass
class Moment:
    """The account after a step. A record's value is the step that wrote it."""

    state: State
    status: str
    rev: str


@dataclass
class History:
    """The truth by step, and what the relay says of each."""

    did: str
    moments: list[Moment]
    events: list[tuple[int, LiveEvent]] = field(default_factory=list)
    deletions: list[int] = field(default_factory=list)


def history_of(steps: list[tuple[str, dict[Key, bool]]]) -> History:
    """Nothing is lost before anything was heard of the account."""
    made = History(f"did:plc:{next(_accounts):024d}", [Moment({}, "active", tid_from(time_of(0)))])
    for step, (kind, changes) in enumerate(steps, start=1):
        before = made.moments[-1]
        if kind in ("commit", "lost", "refused"):
            _commit(made, step, kind if _is_known(made) else "commit", changes)
        elif kind == "sync":
            made.moments.append(before)
            head = LiveSync(did=made.did, rev=before.rev, data=root_of(before.state), seq=step, at_us=time_of(step) + 1)
            made.events.append((step, head))
        else:
            _account(made, step, kind)
    return made


def _is_known(made: History) -> bool:
    return any(isinstance(happened, LiveCommit) for _, happened in made.events)


def _commit(made: History, step: int, kind: str, changes: dict[Key, bool]) -> None:
    before, rev = made.moments[-1], tid_from(time_of(step))
    if before.status == "deleted":
        made.moments.append(before)
        return
    put = {key: step for key, is_put in changes.items() if is_put}
    gone = sorted(key for key, is_put in changes.items() if not is_put and key in before.state)
    state = {key: value for key, value in (before.state | put).items() if key not in gone}
    made.moments.append(Moment(state, before.status, rev))
    at_us = time_of(step) + 1
    if kind == "commit":
        happened: LiveEvent = LiveCommit(
            did=made.did,
            rev=rev,
            data=root_of(state),
            seq=step,
            at_us=at_us,
            since=before.rev,
            prev_data=root_of(before.state),
            put=rows_of(put),
            delete=keys(*gone),
        )
    elif kind == "refused":
        happened = LiveBroken(did=made.did, seq=step, at_us=at_us, rev=rev, reason=Reason.COMMIT_TOO_BIG)
    else:
        return
    made.events.append((step, happened))


def _account(made: History, step: int, kind: str) -> None:
    before, at_us = made.moments[-1], time_of(step) + 1
    if before.status == "deleted" and kind != "activate":
        made.moments.append(before)
        return
    status = _INACTIVE.get(kind, "active")
    if kind == "delete":
        made.deletions.append(step)
        made.moments.append(Moment({}, status, before.rev))
    elif before.status == "deleted":  # another repo under the same DID
        made.moments.append(Moment({}, status, tid_from(time_of(step) + 2)))
    else:
        made.moments.append(Moment(before.state, status, before.rev))
    said = None if status == "active" else status
    made.events.append((step, LiveAccount(did=made.did, seq=step, at_us=at_us, active=said is None, status=said)))
