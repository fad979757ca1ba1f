"""Every made-up repository, from its bytes to its records: the verdict, and the reason for it.

CAR, commit, signature and tree are read as a backfill reads them. What is wrong in a record's own block concerns
that record alone and is tested where records are decoded; here such a repository has to go through.
"""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from headwater.blocks import MemoryBlocks
from headwater.car import CarReader
from headwater.commit import Commit, check_commit, parse_commit, verify_signature
from headwater.errors import InvalidInputError, Reason
from headwater.keys import parse_did_key
from headwater.mst import verify_tree, walk
from shared_inputs import INPUTS, needs_inputs, read_json

MIB = 1024 * 1024
NOW_US = 1_800_000_000_000_000
INDEX: dict[str, Any] = read_json("hostile/index.json") or {"cases": []}
CARS: dict[str, Any] = read_json("cars/index.json") or {}
CASES = {case["file"]: case for case in INDEX["cases"] if case["layer"] in ("car", "commit", "mst", "repo", "record")}

REFUSED = {
    "car-empty.bin": Reason.CAR_TRUNCATED,
    "car-truncated-real.car": Reason.CAR_TRUNCATED,
    "car-bitflip-real.car": Reason.BLOCK_HASH,
    "car-trailing-garbage.car": Reason.CAR_TRUNCATED,
    "car-zero-length-section.car": Reason.CAR_SECTION,
    "car-huge-section-length.car": Reason.BLOCK_TOO_LARGE,
    "car-varint-too-long.car": Reason.CAR_SECTION,
    "car-varint-non-minimal.car": Reason.CAR_HEADER,
    "car-header-length-huge.car": Reason.CAR_HEADER,
    "car-no-roots.car": Reason.CAR_HEADER,
    "car-root-absent.car": Reason.BLOCK_MISSING,
    "car-version-2-pragma.car": Reason.CAR_HEADER,
    "car-header-version-9.car": Reason.CAR_HEADER,
    "car-header-not-map.car": Reason.CAR_HEADER,
    "car-cidv0-block.car": Reason.CID_UNSUPPORTED,
    "car-identity-hash-block.car": Reason.CID_UNSUPPORTED,
    "car-sha512-block.car": Reason.CID_UNSUPPORTED,
    "commit-high-s.car": Reason.BAD_SIGNATURE,
    "commit-der-sig.car": Reason.BAD_SIGNATURE,
    "commit-zero-sig.car": Reason.BAD_SIGNATURE,
    "commit-short-sig.car": Reason.BAD_SIGNATURE,
    "commit-no-sig.car": Reason.COMMIT_MALFORMED,
    "commit-other-did.car": Reason.COMMIT_DID,
    "commit-version-4.car": Reason.COMMIT_MALFORMED,
    "commit-future-rev.car": Reason.COMMIT_REV,
    "commit-bad-rev.car": Reason.COMMIT_REV,
    "commit-data-null.car": Reason.COMMIT_MALFORMED,
    "commit-data-is-commit.car": Reason.MST_INCOMPLETE,
    "commit-indefinite-map.car": Reason.COMMIT_MALFORMED,
    "mst-unsorted-keys.car": Reason.MST_ORDER,
    "mst-duplicate-key.car": Reason.MST_ORDER,
    "mst-prefix-too-long.car": Reason.MST_MALFORMED,
    "mst-prefix-negative.car": Reason.MST_MALFORMED,
    "mst-prefix-not-compressed.car": Reason.MST_MALFORMED,
    # Its second key is also written out in full, which is found first.
    "mst-wrong-layer.car": Reason.MST_MALFORMED,
    "mst-left-child-out-of-range.car": Reason.MST_ORDER,
    "mst-empty-inner-node.car": Reason.MST_MALFORMED,
    # Policy: an export that lacks a part of its tree is refused as a whole, and asked for again.
    "mst-missing-subtree.car": Reason.MST_INCOMPLETE,
    "mst-value-is-bytes.car": Reason.MST_MALFORMED,
    "mst-value-is-node.car": Reason.MST_MALFORMED,
    "mst-e-not-list.car": Reason.MST_MALFORMED,
    # Policy: t is always there, null where there is no subtree.
    "mst-missing-t.car": Reason.MST_MALFORMED,
    "mst-key-text-not-bytes.car": Reason.MST_MALFORMED,
    "mst-key-no-slash.car": Reason.MST_KEY,
    "mst-key-two-slashes.car": Reason.MST_KEY,
    "mst-key-dotdot.car": Reason.MST_KEY,
    "mst-key-not-utf8.car": Reason.MST_KEY,
    "mst-key-nul.car": Reason.MST_KEY,
    "mst-key-bad-nsid.car": Reason.MST_KEY,
    "mst-key-2kb.car": Reason.MST_KEY,
    "mst-key-sql.car": Reason.MST_KEY,
    "mst-key-newline.car": Reason.MST_KEY,
    "mst-exponential-dag-40.car": Reason.MST_LAYER,
    "mst-chain-20000-deep.car": Reason.MST_LAYER,
    "mst-cycle-lying-cids.car": Reason.BLOCK_HASH,
}
# Repositories that are in order: their number of records, and of records whose blocks are missing.
ACCEPTED = {
    "ok-baseline.car": (8, 0),
    "ok-empty-repo.car": (0, 0),
    "ok-reversed-blocks.car": (8, 0),
    "ok-duplicate-blocks.car": (8, 0),
    "ok-unreferenced-block.car": (8, 0),
    "ok-same-record-1000-keys.car": (1000, 0),
    "car-raw-codec-block.car": (8, 0),
    # Policy: the first root is the commit, further ones are ignored.
    "car-two-roots.car": (8, 0),
    # Policy: the signature is checked over what was signed, the unknown field is ignored.
    "commit-extra-field.car": (8, 0),
    # Policy: a record whose block is missing is one refused record; its siblings are imported.
    "mst-value-missing.car": (1, 1),
}


def _read(car: bytes, did: str, did_key: str) -> tuple[Commit, list[str], int]:
    """The commit of a CAR, its records' collections, and how many of the records are missing."""
    reader, blocks = CarReader(), MemoryBlocks()
    try:
        for start in range(0, len(car), 65536):
            for cid, block in reader.feed(car[start : start + 65536]):
                blocks.put(cid, block)
        root = reader.finish()
        blocks.seal()
        commit = parse_commit(blocks.get(root))
        check_commit(commit, did, NOW_US)
        verify_signature(commit, parse_did_key(did_key))
        count = verify_tree(blocks, commit.data)
        collections, missing = [], 0
        for collection, _, cid in walk(blocks, commit.data):
            collections.append(collection)
            try:
                blocks.get(cid)
            except InvalidInputError:
                missing += 1
        assert count == len(collections)
        return commit, collections, missing
    finally:
        blocks.close()


@needs_inputs
def test_the_tables_above_name_every_case() -> None:
    whole = {name for name, case in CASES.items() if case["layer"] != "record"}
    assert REFUSED.keys() | ACCEPTED.keys() == whole
    for name in whole:
        expected = CASES[name]["expect"]
        assert expected != "accept" or name in ACCEPTED
        assert expected != "reject" or name in REFUSED


@needs_inputs
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    car = (INPUTS / "hostile" / name).read_bytes()
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInputError) as refused:
            _read(car, INDEX["did"], INDEX["did_key"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.reason is REFUSED[name]
    assert len(str(refused.value)) < 500
    assert peak < 32 * MIB


@needs_inputs
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str) -> None:
    _, collections, missing = _read((INPUTS / "hostile" / name).read_bytes(), INDEX["did"], INDEX["did_key"])
    assert (len(collections), missing) == ACCEPTED[name]


@needs_inputs
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["layer"] == "record"])
def test_a_hostile_record_leaves_its_repository_readable(name: str) -> None:
    _, collections, missing = _read((INPUTS / "hostile" / name).read_bytes(), INDEX["did"], INDEX["did_key"])
    assert collections
    assert missing == 0


@needs_inputs
@pytest.mark.parametrize("name", CARS)
def test_real_repositories(name: str) -> None:
    expected = CARS[name]
    commit, collections, missing = _read((INPUTS / "cars" / name).read_bytes(), expected["did"], expected["did_key"])
    assert commit.rev == expected["rev"]
    assert {name: collections.count(name) for name in collections} == expected["collections"]
    assert missing == 0
