"""From where a worker goes on, whatever the layout of the workers was before, and whatever relays they followed. Pure.

Too early costs time, too late would lose events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from firehose_backfill.cursor import Cursor, CursorKey
from firehose_backfill.gaps import Place


class Start(NamedTuple):
    """The relay to follow, and up to when events have been seen (microseconds since 1970), at this relay or another.

    ``place`` is the event at this relay behind which to go on; None where only the time is known.
    """

    relay: str
    place: Place | None
    seen_us: int


_Saved = tuple[CursorKey, Cursor]


def start(saved: Mapping[CursorKey, Cursor], worker_count: int, worker_id: int) -> Start | None:
    """From where worker ``worker_id`` of ``worker_count`` goes on; None when it is not known
    that its work was done before.

    Its own cursor counts, the one at the relay that it followed last, unless the workers ran in another layout since.
    Partitions have other owners then, so the worker begins at the least cursor of that layout; where not all workers of
    that layout have saved one, what they had to do is left to an older layout's, and so on back to its own cursor.
    Where even that leaves something to nobody, only when the workers began is known (None). Cursors of different relays
    have only their times in common.
    """
    own = [one for one in saved.items() if (one[0].worker_count, one[0].worker_id) == (worker_count, worker_id)]
    others = [one for one in saved.items() if one[0].worker_count != worker_count]
    mine = max(own, key=_saved_at, default=None)
    reached: list[_Saved] = []
    for count, cursors in _layouts(others):
        if mine is not None and _saved_at(mine) >= max(map(_saved_at, cursors)):
            break
        reached += cursors
        if len(cursors) == count:
            return _least(reached)
    return None if mine is None else _least([*reached, mine])


def _least(reached: list[_Saved]) -> Start:
    relay = max(reached, key=_saved_at)[0].relay
    # An event's time is a host's word: nobody has seen anything later than the moment at which he noted it.
    seen_us = min(min(cursor.at_us, cursor.saved_at_us) for _, cursor in reached)
    if any(key.relay != relay for key, _ in reached):
        return Start(relay, None, seen_us)
    least = min((cursor for _, cursor in reached), key=lambda cursor: cursor.seq)
    return Start(relay, Place(least.seq, least.at_us), seen_us)


def _layouts(saved: Iterable[_Saved]) -> list[tuple[int, list[_Saved]]]:
    """Each worker count with its workers' newest cursors, the layout that ran last first."""
    layouts: dict[int, list[_Saved]] = {}
    for key, cursor in saved:
        layouts.setdefault(key.worker_count, []).append((key, cursor))
    newest_first = sorted(layouts.items(), key=lambda layout: -max(map(_saved_at, layout[1])))
    return [(count, _newest_of_each(cursors)) for count, cursors in newest_first]


def _newest_of_each(saved: Iterable[_Saved]) -> list[_Saved]:
    """The cursor that each worker saved last, at whatever relay."""
    newest: dict[tuple[int, int], _Saved] = {}
    for key, cursor in saved:
        worker = (key.worker_count, key.worker_id)
        if worker not in newest or cursor.saved_at_us > newest[worker][1].saved_at_us:
            newest[worker] = (key, cursor)
    return list(newest.values())


def _saved_at(one: _Saved) -> int:
    return one[1].saved_at_us
