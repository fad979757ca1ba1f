"""Operations held against the tree that they led to, and undone on it: the proof that a commit tells everything.

A commit's frame carries the nodes along the paths of the changed keys and of their neighbours
(https://atproto.com/specs/sync#commit-validation). Undoing every operation on this part of the tree gives the root
that the tree had before. When that is the root we know, the operations are the whole difference, none hidden and none
made up: whatever else a node had changed would show in the root. Whether it is the root we know is the indexer's to say
(``headwater.chain``). That a host keeps its tree sound where no frame shows it, and that the first root heard of a repo
is that of a sound tree, only a walk over a whole snapshot says (``headwater.mst``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headwater.blocks import Blocks, FrameBlocks
from headwater.errors import InvalidInputError, Reason
from headwater.frames import Op
from headwater.mst_splice import NotUsualError, Write, spliced_root
from headwater.mst_tree import Tree

# Every operation reads the nodes on its way anew, and a host may send large ones.
_FEW_OPERATIONS: Final = 10


def leads_back(blocks: FrameBlocks, root: bytes, ops: Sequence[Op], before: bytes) -> bool:
    """Whether undoing the operations, of which no two are on one key, gives the root ``before``.

    Raises InvalidInputError: COMMIT_OPS when an operation is not what the tree says or does not name the record that
    it replaced, MST_INCOMPLETE when a node is needed and not in ``blocks``, and the reasons of a malformed tree.
    """
    if len(ops) <= _FEW_OPERATIONS and _spliced_root(blocks, root, ops) == before:
        return True
    return previous_root(blocks, root, ops) == before


def _spliced_root(blocks: FrameBlocks, root: bytes, ops: Sequence[Op]) -> bytes | None:
    """The root before the operations in the usual case, found in half the time. It counts only where it is the
    one that is expected (``headwater.mst_splice``); None where ``previous_root`` has to say."""
    writes: list[Write] = []
    for op in ops:
        if op.prev is None and op.action != "create":
            return None
        writes.append((op.key, op.cid, op.prev))
    try:
        return spliced_root(blocks, root, writes)
    except (NotUsualError, InvalidInputError):
        return None


def previous_root(blocks: Blocks, root: bytes, ops: Sequence[Op]) -> bytes:
    """The root that the tree had before the operations; errors like ``leads_back``."""
    if not ops:
        # A commit may do nothing; its frame then has no node.
        return root
    tree = Tree(blocks, root)
    _undo(tree, ops)
    return tree.write()[0]


def _undo(tree: Tree, ops: Sequence[Op]) -> None:
    for op in ops:
        if op.action == "create":
            found = tree.remove(op.key)
        elif op.prev is None:
            raise InvalidInputError(Reason.COMMIT_OPS, f"{op.action} without prev: {op.key[:120]!r}")
        else:
            found = tree.put(op.key, op.prev)
        if found != op.cid:
            raise _contradicted(op)


def check_written(blocks: Blocks, root: bytes, ops: Sequence[Op]) -> None:
    """Check what can be checked of operations in frames from before sync v1.1: that the tree has what they wrote.

    Such frames need not hold the nodes that prove a deletion; one is refused only when the key is still there.
    Raises InvalidInputError like ``leads_back``.
    """
    if not ops:
        return
    tree = Tree(blocks, root)
    for op in ops:
        try:
            found = tree.get(op.key)
        except InvalidInputError as error:
            if op.action == "delete" and error.reason is Reason.MST_INCOMPLETE:
                continue
            raise
        if found != op.cid:
            raise _contradicted(op)


def _contradicted(op: Op) -> InvalidInputError:
    return InvalidInputError(Reason.COMMIT_OPS, f"the tree does not have this {op.action}: {op.key[:120]!r}")
