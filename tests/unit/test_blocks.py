from __future__ import annotations

import os
from pathlib import Path

import pytest

from headwater.blocks import MemoryBlocks, SpooledBlocks
from headwater.errors import InvalidInputError, InvariantError, Reason, TransientError
from naive_repo import cid_of

BLOCKS = {
    cid_of(block): block
    for block in [
        b"",
        *(bytes((number,)) * size for number, size in enumerate([1, 36, 2007, 2008, 2009, 70_000, *[300] * 200])),
    ]
}
ABSENT = cid_of(b"absent")


class _Crowded(bytes):
    """A CID whose hash is that of all others."""

    __slots__ = ()

    def __hash__(self) -> int:
        return 7


@pytest.mark.parametrize("make", [MemoryBlocks, SpooledBlocks])
def test_what_was_put_is_found(make: type[MemoryBlocks | SpooledBlocks]) -> None:
    blocks = make()
    for _ in range(2):
        for cid, block in BLOCKS.items():
            blocks.put(cid, block)
    blocks.seal()
    assert {cid: blocks.get(cid) for cid in BLOCKS} == BLOCKS
    with pytest.raises(InvalidInputError) as missing:
        blocks.get(ABSENT)
    assert missing.value.reason is Reason.BLOCK_MISSING
    blocks.close()


@pytest.mark.parametrize("make", [MemoryBlocks, SpooledBlocks])
def test_an_empty_store_holds_nothing(make: type[MemoryBlocks | SpooledBlocks]) -> None:
    blocks = make()
    blocks.seal()
    with pytest.raises(InvalidInputError):
        blocks.get(ABSENT)
    blocks.close()


def test_the_file_has_no_name_so_a_crash_leaves_nothing_behind(tmp_path: Path) -> None:
    blocks = SpooledBlocks(str(tmp_path))
    blocks.put(cid_of(b"a" * 700), b"a" * 700)
    blocks.seal()
    assert blocks.get(cid_of(b"a" * 700)) == b"a" * 700
    assert list(tmp_path.iterdir()) == []
    blocks.close()


def test_small_blocks_count_with_what_a_dict_costs() -> None:
    blocks = MemoryBlocks()
    for number in range(200):
        blocks.put(cid_of(bytes((number,))), bytes((number,)))
    assert blocks.bytes_held > 200 * 100


def test_equal_hashes_do_not_confuse_two_blocks() -> None:
    blocks = SpooledBlocks()
    for cid, block in BLOCKS.items():
        blocks.put(_Crowded(cid), block)
    blocks.seal()
    assert {cid: blocks.get(_Crowded(cid)) for cid in BLOCKS} == BLOCKS
    with pytest.raises(InvalidInputError):
        blocks.get(_Crowded(ABSENT))
    blocks.close()


def test_duplicates_take_one_slot_of_the_table() -> None:
    blocks = SpooledBlocks()
    for _ in range(100):
        blocks.put(ABSENT, b"absent")
    blocks.seal()
    assert sum(map(bool, blocks._table)) == 1
    blocks.close()


def test_a_spool_that_lost_its_end_is_an_invariant_broken() -> None:
    blocks = SpooledBlocks()
    block = b"x" * 5000
    blocks.put(cid_of(block), block)
    blocks.seal()
    os.ftruncate(blocks._descriptor, 4000)
    with pytest.raises(InvariantError):
        blocks.get(cid_of(block))
    blocks.close()


def test_a_full_disk_is_to_be_tried_again_later() -> None:
    blocks = SpooledBlocks()
    # /dev/full answers every write with "no space left".
    full = os.open("/dev/full", os.O_WRONLY)
    blocks._descriptor = full
    blocks.put(ABSENT, b"absent")
    with pytest.raises(TransientError):
        blocks.seal()
    os.close(full)
    blocks.close()


@pytest.mark.parametrize("make", [MemoryBlocks, SpooledBlocks])
def test_blocks_that_begin_as_nodes_do_are_told_apart(make: type[MemoryBlocks | SpooledBlocks]) -> None:
    node, record = b"\xa2\x61e\x80\x61l\xf6", b"\xa1\x61e\x80"
    blocks = make()
    blocks.put_all([(cid_of(block), block) for block in (record, node, b"\xa2\x61e", b"")])
    blocks.seal()
    asked = [cid_of(record), ABSENT, cid_of(node), cid_of(b"")]
    assert blocks.like_nodes(asked) == [cid_of(node)]
    assert blocks.like_nodes([cid_of(record)]) == blocks.like_nodes([]) == []
    assert blocks.get(cid_of(node)) == node
    blocks.close()
