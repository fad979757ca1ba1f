"""The messages of com.atproto.sync.subscribeRepos: the bytes of one websocket message in, a typed frame out.

A message is two DAG-CBOR maps, one behind the other: a header that names the kind, and a body
(https://atproto.com/specs/event-stream). The bodies are those of the lexicon com.atproto.sync.subscribeRepos.

Policy, where the specifications leave room:
- nothing hashes a frame, so an encoding that is longer than needed passes, and so do bytes in place of a link: the
  value is the same. Keys of maps are sorted and unique;
- unknown kinds and operations are frames of their own, to be counted and skipped;
- null and absent are the same for optional fields, ``ops`` among them: Go encodes empty lists as null;
- a handle that is none is left out, since a handle is a hint until it has been resolved;
- whose frame it is must be found without decoding (``peek_repo``): one where that misleads is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import libipld
import msgspec

from headwater.cid import check_dag_cbor_cid
from headwater.dagcbor import NotStrictError, check_heads
from headwater.errors import InvalidInputError, Reason
from headwater.frames import (
    AccountEvent,
    AccountFrame,
    Action,
    CommitFrame,
    ErrorFrame,
    Frame,
    IdentityFrame,
    InfoFrame,
    Op,
    SyncFrame,
    UnknownFrame,
)
from headwater.syntax import is_datetime, is_did, is_handle, split_repo_key
from headwater.tid import is_tid

MAX_FRAME_BYTES: Final = 5_000_000
MAX_BLOCKS_BYTES: Final = 2_000_000
MAX_OPS: Final = 200

# Up to this length lying lengths of nested containers cost a decoder milliseconds; looking for them costs more.
_MAX_UNCHECKED_BYTES: Final = 16_384
_MAX_TEXT: Final = 200
# The head of an array of two, put before a message: header and body, and nothing behind them.
_PAIR: Final = b"\x82"
_MESSAGE: Final = 1
_ERROR: Final = -1

Seq = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class _OpBody(msgspec.Struct):
    action: Action
    path: str
    cid: bytes | None = None
    prev: bytes | None = None


class _CommitBody(msgspec.Struct, rename="camel"):
    seq: Seq
    repo: str
    time: str
    rev: str
    commit: bytes
    blocks: bytes
    ops: list[_OpBody] | None
    since: str | None = None
    prev_data: bytes | None = None
    too_big: bool = False


class _SyncBody(msgspec.Struct):
    seq: Seq
    did: str
    time: str
    rev: str
    blocks: bytes


class _IdentityBody(msgspec.Struct):
    seq: Seq
    did: str
    time: str
    handle: str | None = None


class _AccountBody(msgspec.Struct):
    seq: Seq
    did: str
    time: str
    active: bool
    status: str | None = None


class _InfoBody(msgspec.Struct):
    name: str
    message: str | None = None


class _ErrorBody(msgspec.Struct):
    error: str
    message: str | None = None


_Body = TypeVar("_Body")

# How a text begins: its length in the head, or behind it in one byte or two. All DIDs begin alike.
_TEXT: Final = rb"(?:([\x60-\x77])|\x78(.)|\x79(..))(?=did:)"
_COMMIT_HEADER: Final = b"\xa2\x61t\x67#commit\x62op\x01"
_search_repo: Final = re.compile(rb"\x64repo" + _TEXT, re.DOTALL).search
_search_did: Final = re.compile(rb"\x63did" + _TEXT, re.DOTALL).search


def peek_repo(message: bytes) -> str | None:
    """The DID that a message is about, without decoding it; None where there is none, as in ``#info``.

    So a worker can leave the DIDs of others alone at a hundredth of the cost. The answer depends on the bytes only:
    all workers agree on it.
    """
    search = _search_repo if message.startswith(_COMMIT_HEADER) else _search_did
    match = search(message)
    if match is None:
        return None
    short, *long = match.groups()
    length = short[0] - 0x60 if short else int.from_bytes(long[0] or long[1], "big")
    did = message[match.end() : match.end() + length]
    return did.decode("ascii") if did.isascii() else None


def parse_frame(message: bytes) -> Frame:
    """Parse one websocket message.

    Raises InvalidInputError: FRAME_TOO_LARGE, FRAME_MALFORMED when it is not a header and a body, FRAME_FIELD when a
    field is missing or not what it has to be, FRAME_OP for an operation, CID_UNSUPPORTED.
    """
    return parse_frame_of(peek_repo(message), message)


def parse_frame_of(did: str | None, message: bytes) -> Frame:
    """``parse_frame`` for who has already asked ``peek_repo`` whose message it is."""
    header, body = _decode(message)
    kind, op = header.get("t"), header.get("op")
    if type(op) is not int:
        raise InvalidInputError(Reason.FRAME_FIELD, f"op {str(op)[:20]!r}")
    if op == _ERROR:
        error = _convert(body, _ErrorBody)
        return ErrorFrame(error.error[:_MAX_TEXT], _bounded(error.message))
    if op != _MESSAGE:
        return _unknown(f"op {op}", body)
    if not isinstance(kind, str):
        raise InvalidInputError(Reason.FRAME_FIELD, f"t {str(kind)[:40]!r}")
    if kind == "#info":
        info = _convert(body, _InfoBody)
        return InfoFrame(info.name[:_MAX_TEXT], _bounded(info.message))
    parse = _EVENTS.get(kind)
    if parse is None:
        return _unknown(kind, body)
    event = parse(body)
    if did != event.did:
        raise InvalidInputError(Reason.FRAME_MALFORMED, f"its DID is not where it belongs: {event.did[:80]}")
    return event


def _decode(message: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    if len(message) > MAX_FRAME_BYTES:
        raise InvalidInputError(Reason.FRAME_TOO_LARGE, f"{len(message)} bytes")
    pair = _PAIR + message
    try:
        if len(pair) > _MAX_UNCHECKED_BYTES:
            check_heads(pair)
        header, body = libipld.decode_dag_cbor(pair)
    except (ValueError, RecursionError, NotStrictError) as error:
        raise InvalidInputError(Reason.FRAME_MALFORMED, str(error)[:_MAX_TEXT]) from None
    if not isinstance(header, dict) or not isinstance(body, dict):
        raise InvalidInputError(Reason.FRAME_MALFORMED, f"{type(header).__name__} and {type(body).__name__}")
    return header, body


def _convert(body: dict[str, Any], shape: type[_Body]) -> _Body:
    try:
        # Bytes are bytes here; as JSON has them, they would be read from base64 text.
        return msgspec.convert(body, shape, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise InvalidInputError(Reason.FRAME_FIELD, str(error)[:_MAX_TEXT]) from None


def _commit(body: dict[str, Any]) -> CommitFrame:
    fields = _convert(body, _CommitBody)
    _check_event(fields.repo, fields.time)
    _check_tid(fields.rev)
    if fields.since is not None:
        _check_tid(fields.since)
    _check_blocks(fields.blocks)
    listed = fields.ops or []
    if len(listed) > MAX_OPS:
        raise InvalidInputError(Reason.FRAME_TOO_LARGE, f"{len(listed)} operations")
    ops = tuple([_op(op) for op in listed])
    if len(ops) > 1 and len({op.key for op in ops}) < len(ops):
        raise InvalidInputError(Reason.FRAME_OP, "two operations on one record")
    return CommitFrame(
        fields.seq,
        fields.repo,
        fields.time,
        fields.rev,
        fields.since,
        check_dag_cbor_cid(fields.commit),
        None if fields.prev_data is None else check_dag_cbor_cid(fields.prev_data),
        fields.blocks,
        ops,
        fields.too_big,
    )


def _op(op: _OpBody) -> Op:
    try:
        key = op.path.encode("ascii")
        collection, rkey = split_repo_key(key)
    except (UnicodeEncodeError, InvalidInputError):
        raise InvalidInputError(Reason.FRAME_OP, f"path {op.path[:120]!r}") from None
    if (op.cid is None) is not (op.action == "delete") or (op.prev is not None and op.action == "create"):
        raise InvalidInputError(Reason.FRAME_OP, f"{op.action} with the CIDs of another action: {op.path}")
    if op.cid is not None:
        check_dag_cbor_cid(op.cid)
    if op.prev is not None:
        check_dag_cbor_cid(op.prev)
    return Op(op.action, collection, rkey, key, op.cid, op.prev)


def _sync(body: dict[str, Any]) -> SyncFrame:
    fields = _convert(body, _SyncBody)
    _check_event(fields.did, fields.time)
    _check_tid(fields.rev)
    _check_blocks(fields.blocks)
    return SyncFrame(fields.seq, fields.did, fields.time, fields.rev, fields.blocks)


def _identity(body: dict[str, Any]) -> IdentityFrame:
    fields = _convert(body, _IdentityBody)
    _check_event(fields.did, fields.time)
    handle = fields.handle.lower() if fields.handle is not None and is_handle(fields.handle) else None
    return IdentityFrame(fields.seq, fields.did, fields.time, handle)


def _account(body: dict[str, Any]) -> AccountFrame:
    fields = _convert(body, _AccountBody)
    _check_event(fields.did, fields.time)
    return AccountFrame(fields.seq, fields.did, fields.time, fields.active, _bounded(fields.status))


def _unknown(kind: str, body: dict[str, Any]) -> UnknownFrame:
    seq = body.get("seq")
    valid = type(seq) is int and 0 <= seq < 1 << 63
    return UnknownFrame(kind[:_MAX_TEXT], seq if valid else None)


_EVENTS: Final[dict[str, Callable[[dict[str, Any]], AccountEvent]]] = {
    "#commit": _commit,
    "#sync": _sync,
    "#identity": _identity,
    "#account": _account,
}


def _check_event(did: str, time: str) -> None:
    if not is_did(did):
        raise InvalidInputError(Reason.FRAME_FIELD, f"not a DID: {did[:80]!r}")
    if not is_datetime(time):
        raise InvalidInputError(Reason.FRAME_FIELD, f"not a datetime: {time[:80]!r}")


def _check_tid(text: str) -> None:
    if not is_tid(text):
        raise InvalidInputError(Reason.FRAME_FIELD, f"not a TID: {text[:40]!r}")


def _check_blocks(blocks: bytes) -> None:
    if len(blocks) > MAX_BLOCKS_BYTES:
        raise InvalidInputError(Reason.FRAME_TOO_LARGE, f"{len(blocks)} bytes of blocks")


def _bounded(text: str | None) -> str | None:
    return None if text is None else text[:_MAX_TEXT]
