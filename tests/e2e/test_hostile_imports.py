"""Every made-up repository, served as an account's own through the whole stack: the verdict, and nothing is harmed."""

from __future__ import annotations

from typing import Any

import asyncpg
import psutil
import pytest

from e2e.gateway_client import GatewayClient
from e2e.running_stack import RunningStack
from e2e.simulated import SimulatedWorld
from e2e.table import assert_same, rows_of
from shared_inputs import INPUTS, needs_inputs, read_json
from simulator import Answer, car, dagcbor
from simulator.plc import did_document

INDEX: dict[str, Any] = read_json("hostile/index.json") or {"cases": []}
LAYERS = ("car", "commit", "mst", "repo", "record")
CASES = {case["file"]: case for case in INDEX["cases"] if case["layer"] in LAYERS}
MOST_GROWTH = 256 * 1024 * 1024

# Why a repository is refused as a whole.
REFUSED = {
    "car-empty.bin": "car_truncated",
    "car-truncated-real.car": "car_truncated",
    "car-bitflip-real.car": "block_hash",
    "car-trailing-garbage.car": "car_truncated",
    "car-zero-length-section.car": "car_section",
    "car-huge-section-length.car": "block_too_large",
    "car-varint-too-long.car": "car_section",
    "car-varint-non-minimal.car": "car_header",
    "car-header-length-huge.car": "car_header",
    "car-no-roots.car": "car_header",
    "car-root-absent.car": "block_missing",
    "car-version-2-pragma.car": "car_header",
    "car-header-version-9.car": "car_header",
    "car-header-not-map.car": "car_header",
    "car-cidv0-block.car": "cid_unsupported",
    "car-identity-hash-block.car": "cid_unsupported",
    "car-sha512-block.car": "cid_unsupported",
    "commit-high-s.car": "bad_signature",
    "commit-der-sig.car": "bad_signature",
    "commit-zero-sig.car": "bad_signature",
    "commit-short-sig.car": "bad_signature",
    "commit-no-sig.car": "commit_malformed",
    "commit-other-did.car": "commit_did",
    "commit-version-4.car": "commit_malformed",
    "commit-future-rev.car": "commit_rev",
    "commit-bad-rev.car": "commit_rev",
    "commit-data-null.car": "commit_malformed",
    "commit-data-is-commit.car": "mst_incomplete",
    "commit-indefinite-map.car": "commit_malformed",
    "mst-unsorted-keys.car": "mst_order",
    "mst-duplicate-key.car": "mst_order",
    "mst-prefix-too-long.car": "mst_malformed",
    "mst-prefix-negative.car": "mst_malformed",
    "mst-prefix-not-compressed.car": "mst_malformed",
    "mst-wrong-layer.car": "mst_malformed",
    "mst-left-child-out-of-range.car": "mst_order",
    "mst-empty-inner-node.car": "mst_malformed",
    "mst-missing-subtree.car": "mst_incomplete",
    "mst-value-is-bytes.car": "mst_malformed",
    "mst-value-is-node.car": "mst_malformed",
    "mst-e-not-list.car": "mst_malformed",
    "mst-missing-t.car": "mst_malformed",
    "mst-key-text-not-bytes.car": "mst_malformed",
    "mst-key-no-slash.car": "mst_key",
    "mst-key-two-slashes.car": "mst_key",
    "mst-key-dotdot.car": "mst_key",
    "mst-key-not-utf8.car": "mst_key",
    "mst-key-nul.car": "mst_key",
    "mst-key-bad-nsid.car": "mst_key",
    "mst-key-2kb.car": "mst_key",
    "mst-key-sql.car": "mst_key",
    "mst-key-newline.car": "mst_key",
    "mst-exponential-dag-40.car": "mst_layer",
    "mst-chain-20000-deep.car": "mst_layer",
    "mst-cycle-lying-cids.car": "block_hash",
}
# How many records are imported, and how many are refused for what.
ACCEPTED: dict[str, tuple[int, dict[str, int]]] = {
    "ok-baseline.car": (8, {}),
    "ok-empty-repo.car": (0, {}),
    "ok-reversed-blocks.car": (8, {}),
    "ok-duplicate-blocks.car": (8, {}),
    "ok-unreferenced-block.car": (8, {}),
    "ok-same-record-1000-keys.car": (1000, {}),
    "car-raw-codec-block.car": (8, {}),
    "car-two-roots.car": (8, {}),
    "commit-extra-field.car": (8, {}),
    "mst-value-missing.car": (0, {"record_missing": 1}),
}
# Why one record of two is refused; the others of that layer are imported whole.
REFUSED_RECORDS = {
    "record-not-a-map.car": "record_not_map",
    "record-float.car": "record_float",
    "record-nan.car": "record_float",
    "record-bigint.car": "record_integer",
    "record-bignum-tag.car": "record_cbor",
    "record-tag-0.car": "record_cbor",
    "record-indefinite-string.car": "record_cbor",
    "record-duplicate-keys.car": "record_cbor",
    "record-unsorted-keys.car": "record_cbor",
    "record-int-key.car": "record_cbor",
    "record-non-minimal-int.car": "record_cbor",
    "record-bad-utf8.car": "record_cbor",
    "record-lone-surrogate.car": "record_cbor",
    "record-array-length-bomb.car": "record_cbor",
    "record-bytes-length-bomb.car": "record_cbor",
    "record-nested-200.car": "record_too_deep",
    "record-nested-2000.car": "record_too_deep",
    "record-nested-100000.car": "record_too_deep",
    "record-trailing-bytes.car": "record_cbor",
    "record-1mb-text.car": "record_too_large",
}


class Worker:
    """The process of repo-backfill, and how its memory has grown since the first case."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self._at_first = process.memory_info().rss

    @property
    def growth(self) -> int:
        return int(self.process.memory_info().rss) - self._at_first


@pytest.fixture(scope="module")
def worker(stack: RunningStack) -> Worker:
    return Worker(psutil.Process(stack.pid("repo-backfill.0")))


@pytest.fixture
async def clean_account(database: asyncpg.Connection) -> None:
    """All cases are of one account and one rev: what one of them leaves must not stand in for the next."""
    for table in ("record", "repo", "tombstone"):
        await database.execute(f"DELETE FROM {table} WHERE did = $1", INDEX["did"])


@needs_inputs
def test_the_tables_name_every_case() -> None:
    whole = {name for name, case in CASES.items() if case["layer"] != "record"}
    assert REFUSED.keys() | ACCEPTED.keys() == whole
    assert {name for name, case in CASES.items() if case["expect"] == "reject"} <= REFUSED.keys()
    assert {name for name, case in CASES.items() if case["expect"] == "reject-record"} <= REFUSED_RECORDS.keys()
    assert not {name for name, case in CASES.items() if case["expect"] == "accept"} & {*REFUSED, *REFUSED_RECORDS}


@needs_inputs
@pytest.mark.usefixtures("clean_account")
@pytest.mark.parametrize("name", CASES)
async def test_a_made_up_repository_gets_its_verdict(
    world: SimulatedWorld, gateway: GatewayClient, database: asyncpg.Connection, worker: Worker, name: str
) -> None:
    content = (INPUTS / "hostile" / name).read_bytes()
    serve(world, content)
    bystander = world.add_account(host=world.same_host)
    bystander.seed_records(10)
    asked = [await gateway.begin(INDEX["did"]), await gateway.begin(bystander.did)]
    job, other = await gateway.all_ended(asked)
    rows = await rows_of(database, INDEX["did"])
    if name in REFUSED:
        assert (job["state"], job["reason"]) == ("failed", REFUSED[name])
        assert rows == {}
    else:
        records, rejected = verdict(name)
        assert (job["state"], job["rejected"]) == ("done", rejected), job
        assert (len(rows), job["records_written"]) == (records, records)
        blocks = {dagcbor.cid_text(cid): block for cid, block in car.read(content)}
        assert_same(rows, {key: (cid, dagcbor.to_json(dagcbor.decode(blocks[cid]))) for key, (cid, _) in rows.items()})
    assert other["state"] == "done"
    assert_same(await rows_of(database, bystander.did), bystander.expected())
    assert worker.process.is_running()
    assert worker.growth <= MOST_GROWTH


def verdict(name: str) -> tuple[int, dict[str, int]]:
    """Records and refusals of a repository that is not refused as a whole."""
    if name in ACCEPTED:
        return ACCEPTED[name]
    reason = REFUSED_RECORDS.get(name)
    return (2, {}) if reason is None else (1, {reason: 1})


def serve(world: SimulatedWorld, content: bytes) -> None:
    """Make the cases' account one of this world, with ``content`` as its repo."""
    did, host = INDEX["did"], world.same_host
    document = did_document(did, "hostile.sim.test", world.add_account().key, host.url)
    document["verificationMethod"][0]["publicKeyMultibase"] = INDEX["did_key"].removeprefix("did:key:")
    world.plc.register(did, document)
    host.faults.add(Answer(did=did, body=content, content_type="application/vnd.ipld.car", times=None))
