"""Commits' messages spoilt on their way, each in one respect, and messages that no honest host sends.

The commit itself is as it should be in the world: what a reader misses by refusing the message, it must get otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from .commits import Carried
from .dagcbor import Link, cid_of, encode
from .events import Committed, Message
from .keys import SigningKey, signing_key
from .repo import signed_commit
from .tid import iso, tid, tid_us

_DAY_US = 86_400_000_000
_HOUR_US = 3_600_000_000
#: More than the 5 MB that a reader must take, more than the 2 MB that the lexicon allows blocks.
_OVERSIZE = 5_500_000
#: More than any reader of frames takes in.
_ENORMOUS = 17 * 1024 * 1024
_OVERSIZE_BLOCKS = 2_200_000


class Junk(NamedTuple):
    """A message that belongs to no account; after it the host closes the connection where `closes`."""

    content: bytes | str
    closes: bool = False


def _block_hash(message: Message, carried: Carried) -> None:
    """A bit of the last block is flipped, its CID is not."""
    blocks = _blocks(message)
    cid, block = blocks[-1]
    blocks[-1] = (cid, block[:-1] + bytes((block[-1] ^ 1,)))


def _signature(message: Message, carried: Carried) -> None:
    """Signed by a key that is not the account's."""
    _sign(message, carried, key=signing_key("k256", Random(carried.signed.rev)))


def _missing_node(message: Message, carried: Carried) -> None:
    """The root of the tree is not among the blocks."""
    message.blocks = [pair for pair in _blocks(message) if pair[0] != carried.signed.root]


def _missing_record(message: Message, carried: Carried) -> None:
    """The records that were written are not among the blocks."""
    records = {cid for cid, _ in carried.records}
    message.blocks = [pair for pair in _blocks(message) if pair[0] not in records]


def _prev_data(message: Message, carried: Carried) -> None:
    """The root before is another one."""
    message.body["prevData"] = Link(cid_of(b"another root"))


def _lying_op(message: Message, carried: Carried) -> None:
    """The first operation names a key that the commit did not touch."""
    ops = message.body["ops"]
    message.body["ops"] = [ops[0] | {"path": "com.example.lie/elsewhere"}, *ops[1:]] if ops else ops


def _hidden_op(message: Message, carried: Carried) -> None:
    """The last operation is kept back."""
    message.body["ops"] = message.body["ops"][:-1]


def _future_rev(message: Message, carried: Carried) -> None:
    """A rev of tomorrow, in message and commit."""
    _sign(message, carried, rev=tid(max(int(time.time() * 1_000_000), tid_us(carried.signed.rev)) + _DAY_US))


def _old_rev(message: Message, carried: Carried) -> None:
    """A rev of an hour ago, in message and commit."""
    rev_us = tid_us(carried.signed.rev) - _HOUR_US
    message.body["since"] = tid(rev_us - 1000)
    _sign(message, carried, rev=tid(rev_us))


def _wrong_did(message: Message, carried: Carried) -> None:
    """The signed commit is of another account."""
    _sign(message, carried, did="did:plc:" + "z" * 24)


def _too_big(message: Message, carried: Carried) -> None:
    """As commits were told of that were too large, before sync v1.1: neither operations nor blocks."""
    message.body |= {"tooBig": True, "ops": []}
    message.blocks = _blocks(message)[:1]


def _legacy(message: Message, carried: Carried) -> None:
    """No fault, but the form from before sync v1.1: neither the root nor the records before."""
    message.body.pop("prevData", None)
    message.body["ops"] = [{name: op[name] for name in ("action", "path", "cid")} for op in message.body["ops"]]


def _large_blocks(message: Message, carried: Carried) -> None:
    """Blocks that nothing points at, up to more than the lexicon allows."""
    padding = [encode({"pad": bytes([number % 256]) * 50_000}) for number in range(_OVERSIZE_BLOCKS // 50_000)]
    message.extra = [(cid_of(block), block) for block in padding]


_SPOILS: dict[str, Callable[[Message, Carried], None]] = {
    "block_hash": _block_hash,
    "signature": _signature,
    "missing_node": _missing_node,
    "missing_record": _missing_record,
    "prev_data": _prev_data,
    "lying_op": _lying_op,
    "hidden_op": _hidden_op,
    "future_rev": _future_rev,
    "old_rev": _old_rev,
    "wrong_did": _wrong_did,
    "too_big": _too_big,
    "large_blocks": _large_blocks,
    "legacy": _legacy,
}
_BYTES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "trailing": lambda content: content + b"\x00\x01\x02",
    "enormous": lambda content: content + bytes(_ENORMOUS),
}
SPOILS = frozenset(_SPOILS.keys() | _BYTES.keys())
"""What `spoilt` can do to a commit's message."""


def spoilt(event: Committed, kind: str, seq: int) -> bytes:
    """The bytes of a commit's message, spoilt in this way; a #sync has nothing that could be."""
    message, carried = event.message(), event.commits.carried(event.rev)
    if kind in _SPOILS and message.kind == "#commit":
        _SPOILS[kind](message, carried)
    content = message.encode(seq)
    return _BYTES[kind](content) if kind in _BYTES else content


def junk(kind: str, seq: int, time_us: int) -> Junk:
    """A message that is told of nobody. `unknown_type` and `oversize` carry the seq. KeyError for an unknown kind."""
    header = encode({"op": 1, "t": "#commit"})
    strange = {"seq": seq, "did": "did:plc:" + "y" * 24, "time": iso(time_us)}
    made: dict[str, Callable[[], Junk]] = {
        "malformed": lambda: Junk(header + b"\xff\xff\xff"),
        "empty": lambda: Junk(b""),
        "header_only": lambda: Junk(header),
        "no_fields": lambda: Junk(header + encode({"seq": seq})),
        "unknown_type": lambda: Junk(encode({"op": 1, "t": "#novelty"}) + encode(strange)),
        "unknown_op": lambda: Junk(encode({"op": 7}) + encode(strange)),
        "text": lambda: Junk('{"op": 1, "t": "#commit"}'),
        "oversize": lambda: Junk(encode({"op": 1, "t": "#novelty"}) + encode(strange | {"pad": b"\0" * _OVERSIZE})),
        "info": lambda: Junk(info("SomethingNew", "nobody knows this one")),
        "error": lambda: Junk(error("InternalServerError", "the relay has lost its mind"), closes=True),
    }
    return made[kind]()


def info(name: str, text: str) -> bytes:
    """An #info message."""
    return encode({"op": 1, "t": "#info"}) + encode({"name": name, "message": text})


def error(name: str, text: str) -> bytes:
    """An error message: the last one before the connection is closed."""
    return encode({"op": -1}) + encode({"error": name, "message": text})


def _sign(
    message: Message,
    carried: Carried,
    *,
    did: str | None = None,
    rev: str | None = None,
    key: SigningKey | None = None,
) -> None:
    """Put another commit for the same tree in place of the true one."""
    signed = signed_commit(
        did or message.body["repo"], rev or carried.signed.rev, carried.signed.root, key or carried.key
    )
    message.body |= {"rev": signed.rev, "commit": Link(signed.cid)}
    message.blocks = [(signed.cid, signed.block), *_blocks(message)[1:]]


def _blocks(message: Message) -> list[tuple[bytes, bytes]]:
    assert message.blocks is not None
    return message.blocks
