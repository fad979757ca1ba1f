"""Very many frames of real shape, made once and kept in a file: signed commits of many accounts, proven as hosts do.

Nothing here is for one consumer's taste: the frames are those that the simulated relay would send of the same writes.
"""

from __future__ import annotations

import json
import mmap
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from .account import Account
from .dagcbor import cid_text
from .records import Author, Record
from .repo import Write
from .stream import Stream
from .world import World

#: 2025-06-01T00:00:00Z: no machine's clock is behind it, so no rev is of the future.
_NOW_US = 1_748_736_000_000_000
#: Worlds of small seeds are tests' and benchmarks': the accounts of a load are nobody else's.
_WORLD = 1_000_000
_RECIPE = (
    *("account", "records", "tree", "mst", "commits", "events", "dagcbor", "car", "tid", "repo", "stream", "keys"),
    "load_frames",
)
#: Records that an account has before its first frame, which make its tree as deep as real ones are: those of the first
#: quarter, who write half of the frames, and those of the others.
_LONG_HISTORY, _SHORT_HISTORY = 3000, 400

#: What an operation is, and how often: the network's mix, likes before all else.
_MIX: tuple[tuple[float, str, Callable[[Author, int], Record]], ...] = (
    (0.52, "app.bsky.feed.like", Author.like),
    (0.18, "app.bsky.feed.post", Author.post),
    (0.11, "app.bsky.feed.repost", Author.repost),
    (0.12, "app.bsky.graph.follow", Author.follow),
)
_UPDATES = 0.01
_OPS = (1,) * 80 + (2,) * 13 + (3,) * 7


@dataclass(frozen=True, slots=True)
class LoadFile:
    """Frames on disk, each with the head of its websocket message, so that they can be sent as they lie there.

    `ends[i]` is where frame i ends; `rows[i]` how many records the frames up to and with i leave behind, when nothing
    was there before. `accounts` have did, handle, multibase (their key), rev and head (at the end).
    """

    path: Path
    accounts: list[dict[str, str]]
    ends: array[int]
    rows: array[int]
    first_seq: int

    def __len__(self) -> int:
        return len(self.ends)

    def start(self, place: int) -> int:
        """Where a frame begins in the file."""
        return self.ends[place - 1] if place else 0

    def place_within(self, offset: int) -> int:
        """How many frames end at or before an offset."""
        return bisect_right(self.ends, offset)

    def message(self, place: int) -> bytes:
        """A frame without the head of its websocket message."""
        with self.path.open("rb") as file:
            file.seek(self.start(place))
            framed = file.read(self.ends[place] - self.start(place))
        return next(framed[head:] for head in (2, 4, 10) if framed.startswith(websocket_head(len(framed) - head)))

    def open(self) -> mmap.mmap:
        """The file's bytes."""
        with self.path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def load_file(cache: Path, *, frames: int, accounts: int, seed: int = 0) -> LoadFile:
    """The frames of these numbers, made now where they are not in the cache yet."""
    name = sha256(f"{_recipe()}/{frames}/{accounts}/{seed}".encode()).hexdigest()[:24]
    path = cache / f"frames-{name}.bin"
    if not _index(path).exists():
        cache.mkdir(parents=True, exist_ok=True)
        _write(path, frames, accounts, seed)
    index = json.loads(_index(path).read_text())
    ends, rows = array("Q"), array("q")
    numbers = path.with_suffix(".numbers").read_bytes()
    ends.frombytes(numbers[: 8 * frames])
    rows.frombytes(numbers[8 * frames :])
    return LoadFile(path, index["accounts"], ends, rows, index["first_seq"])


def websocket_head(length: int) -> bytes:
    """The head of an unmasked, binary, whole websocket message (RFC 6455, section 5.2)."""
    if length < 126:
        return bytes((0x82, length))
    if length < 1 << 16:
        return bytes((0x82, 126)) + length.to_bytes(2, "big")
    return bytes((0x82, 127)) + length.to_bytes(8, "big")


class _Typist:
    """An account that writes, and what it could delete."""

    def __init__(self, account: Account, rng: Random) -> None:
        self.account = account
        self.ours: set[bytes] = set()
        self._rng = rng
        self._author = Author(rng, account.did)
        # The profile is for updates, and never deleted.
        self._keys = [key for key in account.repo.sorted_keys() if not key.endswith(b"/self")]

    def commit(self) -> int:
        """One commit; by how many the records that frames have left behind are more."""
        clock_us, rng = self.account.clock.now_us, self._rng
        writes, more, gone = [], 0, set[int]()
        for _ in range(rng.choice(_OPS)):
            kind = rng.random()
            for share, collection, write in _MIX:
                kind -= share
                if kind < 0:
                    writes.append(
                        Write("create", collection, self.account.clock.next_tid(), write(self._author, clock_us))
                    )
                    more += 1
                    break
            else:
                if kind < _UPDATES:
                    more += self._update(writes, clock_us)
                else:
                    more += self._delete(writes, gone)
        for place in sorted(gone, reverse=True):
            self._keys.pop(place)
        self._keys += [write.key for write in writes if write.action == "create"]
        self.ours.update(write.key for write in writes if write.action != "delete")
        self.account.apply_writes(writes)
        return more

    def _update(self, writes: list[Write], us: int) -> int:
        profile = Write("update", "app.bsky.actor.profile", "self", self._author.profile(us))
        if any(write.key == profile.key for write in writes):
            return 0
        writes.append(profile)
        return profile.key not in self.ours

    def _delete(self, writes: list[Write], gone: set[int]) -> int:
        # The newest are deleted most: people change their minds at once, or never.
        place = len(self._keys) - 1 - int(self._rng.random() ** 3 * len(self._keys))
        if place in gone:
            return 0
        gone.add(place)
        collection, _, rkey = self._keys[place].decode().partition("/")
        writes.append(Write("delete", collection, rkey))
        return -(self._keys[place] in self.ours)


def _write(path: Path, frames: int, accounts: int, seed: int) -> None:
    ends, rows = array("Q"), array("q")
    with World(_WORLD + seed, now_us=_NOW_US) as world:
        stream = world.relay.stream
        typists = [
            _typist(world, _LONG_HISTORY if number < accounts // 4 else _SHORT_HISTORY, Random(f"{seed}/{number}"))
            for number in range(accounts)
        ]
        for host in (*world.hosts, *world.relays):
            host.stream.keep_events = 0
        stream.keep_events = 1
        first_seq = stream.last_seq + 1
        rng, left, position = Random(f"load/{seed}"), 0, 0
        partial = path.with_suffix(".partial")
        with partial.open("wb", buffering=1 << 20) as out:
            for _ in range(frames):
                # Some write much, most a little.
                typist = typists[int(rng.random() ** 2 * accounts)]
                left += typist.commit()
                content = _newest(stream)
                typist.account.commits.forget()
                position += out.write(websocket_head(len(content))) + out.write(content)
                ends.append(position)
                rows.append(left)
        described = list(_described(world))
    path.with_suffix(".numbers").write_bytes(ends.tobytes() + rows.tobytes())
    partial.rename(path)
    _index(path).write_text(json.dumps({"accounts": described, "first_seq": first_seq}))


def _typist(world: World, history: int, rng: Random) -> _Typist:
    account = world.add_account()
    account.seed_records(history)
    return _Typist(account, rng)


def _newest(stream: Stream) -> bytes:
    (entry,) = stream.read(stream.end - 1, 1)[1]
    content = entry.content()
    assert isinstance(content, bytes)
    return content


def _described(world: World) -> Iterator[dict[str, Any]]:
    for account in world.accounts:
        head = account.repo.head
        names = {"did": account.did, "handle": account.handle, "multibase": account.key.multibase}
        yield names | {"rev": head.rev, "head": cid_text(head.cid)}


def _index(path: Path) -> Path:
    return path.with_suffix(".json")


def _recipe() -> str:
    here = Path(__file__).parent
    return sha256(b"".join((here / f"{name}.py").read_bytes() for name in _RECIPE)).hexdigest()
