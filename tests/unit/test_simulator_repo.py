"""The oracle must be right itself: it is held against published fixtures, real exports and another decoder."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import libipld
import pytest
from coincurve import PublicKey

from simulator import DEFAULT_NOW_US, World, Write, car, dagcbor, keys, tree
from simulator.records import generate
from simulator.repo import Order
from simulator.tid import is_tid, tid, tid_us

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")


def fixture(name: str) -> Any:
    return json.loads((SHARED / "interop" / name).read_text())


def walk(content: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Commit and records (key to CID) of a CAR, read with libipld alone."""
    header, blocks = libipld.decode_car(content)
    commit = blocks[header["roots"][0]]
    found: dict[str, bytes] = {}

    def visit(cid: bytes | None) -> None:
        if cid is None:
            return
        node, key = blocks[cid], b""
        visit(node["l"])
        for entry in node["e"]:
            key = key[: entry["p"]] + entry["k"]
            assert entry["v"] in blocks
            found[key.decode()] = entry["v"]
            visit(entry["t"])

    visit(commit["data"])
    return commit, found


@needs_shared
def test_mst_heights_and_prefixes_are_those_of_the_fixtures() -> None:
    for case in fixture("mst/key_heights.json"):
        assert tree.height(case["key"].encode()) == case["height"]
    for case in fixture("mst/common_prefix.json"):
        assert tree.common_prefix(case["left"].encode(), case["right"].encode()) == case["len"]


@needs_shared
def test_mst_roots_are_those_of_the_commit_proof_fixtures() -> None:
    cases = fixture("firehose/commit-proof-fixtures.json")
    assert cases
    for case in cases:
        leaf = dagcbor.cid_bytes(case["leafValue"])
        before = set(case["keys"])
        after = (before | set(case["adds"])) - set(case["dels"])
        for present, root in ((before, case["rootBeforeCommit"]), (after, case["rootAfterCommit"])):
            ordered = sorted(key.encode() for key in present)
            assert dagcbor.cid_text(tree.build(ordered, [leaf] * len(ordered)).cid) == root


@needs_shared
@pytest.mark.parametrize("name", ["calabro-small.car", "shinyakato.car", "bnewbold.car", "tiny.car", "empty.car"])
def test_a_real_repo_rebuilt_has_the_same_root(name: str) -> None:
    commit, found = walk((SHARED / "cars" / name).read_bytes())
    ordered = sorted((key.encode(), cid) for key, cid in found.items())
    root = tree.build([key for key, _ in ordered], [cid for _, cid in ordered])
    assert root.cid == commit["data"]


@needs_shared
def test_the_data_model_is_that_of_the_fixtures() -> None:
    for case in fixture("data-model/data-model-fixtures.json"):
        block = dagcbor.encode(dagcbor.from_json(case["json"]))
        assert block == base64.b64decode(case["cbor_base64"] + "==")
        assert dagcbor.cid_text(dagcbor.cid_of(block)) == case["cid"]
        assert dagcbor.to_json(dagcbor.decode(block)) == case["json"]


@needs_shared
def test_did_keys_are_those_of_the_fixtures() -> None:
    for case in fixture("crypto/w3c_didkey_K256.json"):
        assert keys.K256Key(bytes.fromhex(case["privateKeyBytesHex"])).did_key == case["publicDidKey"]


def test_p256_signatures_have_a_low_s_and_verify() -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    rng = Random(5)
    for number in range(20):
        key = keys.P256Key(rng.randbytes(31))
        signature = key.sign(bytes([number]))
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        assert s <= 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 // 2
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key._public())
        public.verify(utils.encode_dss_signature(r, s), bytes([number]), ec.ECDSA(hashes.SHA256()))


def test_tids_round_trip() -> None:
    assert tid_us("3jzfcijpj2z2a") == 1688137381887007
    assert tid(DEFAULT_NOW_US, 1023).endswith("zz")
    assert is_tid(tid(DEFAULT_NOW_US))
    assert tid_us(tid(DEFAULT_NOW_US, 5)) == DEFAULT_NOW_US
    assert not is_tid("self")
    assert not is_tid("zzzzzzzzzzzzz")


def test_generated_records_are_canonical_in_order_and_of_real_size() -> None:
    records = list(generate(Random(1), "did:plc:" + "a" * 24, DEFAULT_NOW_US, 3000))
    assert len(records) == 3000
    assert [key for key, _ in records] == sorted({key for key, _ in records})
    for _, block in records:
        assert dagcbor.encode(dagcbor.decode(block)) == block
    assert 200 < sum(len(block) for _, block in records) / len(records) < 350
    likes = sum(key.startswith(b"app.bsky.feed.like/") for key, _ in records)
    assert likes > len(records) / 2


@pytest.mark.parametrize("order", ["tree", "pds", "shuffled"])
def test_a_car_holds_what_was_written_and_nothing_else(order: Order) -> None:
    with World(3) as world:
        account = world.add_account()
        account.seed_records(500)
        account.seed_odd_records()
        rkey = account.post("hello")
        gone = account.post("gone")
        account.delete("app.bsky.feed.post", gone)
        account.update("app.bsky.feed.post", rkey, {"$type": "app.bsky.feed.post", "text": "edited"})
        content = account.car_bytes(order=order)
        commit, found = walk(content)
        assert commit["did"] == account.did
        assert commit["rev"] == account.repo.rev
        assert commit["version"] == 3
        expected = account.expected()
        assert {key: dagcbor.cid_text(cid) for key, cid in found.items()} == {
            f"{collection}/{key}": row.cid for (collection, key), row in expected.items()
        }
        assert expected["app.bsky.feed.post", rkey].value["text"] == "edited"
        assert ("app.bsky.feed.post", gone) not in expected
        blocks = list(car.read(content))
        assert all(dagcbor.cid_of(block) == cid for cid, block in blocks)
        assert len({cid for cid, _ in blocks}) == len(blocks)
        assert (blocks[0][0] == account.repo.head.cid) is (order == "tree")


def test_commits_are_signed_by_the_account() -> None:
    with World(4) as world:
        account = world.add_account()
        account.post("signed")
        commit = dagcbor.decode(account.repo.head.block)
        signature = commit.pop("sig")
        public = PublicKey(account.key._public())
        der = _der(signature)
        assert public.verify(der, dagcbor.encode(commit))
        assert not public.verify(der, dagcbor.encode(commit | {"rev": "3jzfcijpj2z2a"}))


def test_every_commit_has_a_later_rev() -> None:
    with World() as world:
        account = world.add_account()
        revs = [account.repo.rev]
        rkey = account.post("one")
        revs.append(account.repo.rev)
        revs.append(account.delete("app.bsky.feed.post", rkey))
        revs.append(account.seed_records(10))
        assert revs == sorted(set(revs))


def test_worlds_of_one_seed_are_equal_and_of_another_differ() -> None:
    def car_of(seed: int) -> bytes:
        with World(seed) as world:
            account = world.add_account(curve="p256")
            account.seed_records(50)
            return account.car_bytes()

    assert car_of(1) == car_of(1)
    assert car_of(1) != car_of(2)


def test_since_leaves_out_what_was_there_before() -> None:
    with World() as world:
        account = world.add_account()
        account.seed_records(300)
        since = account.repo.head.rev
        rkey = account.post("new")
        whole = {cid for cid, _ in car.read(account.car_bytes())}
        part = {cid for cid, _ in car.read(account.car_bytes(since=since))}
        stored = account.repo.find(f"app.bsky.feed.post/{rkey}".encode())
        assert stored is not None
        assert stored.cid in part
        assert part < whole
        assert len(part) < 10


def test_a_large_repo_stays_on_disk_and_is_taken_up_again(tmp_path: Path) -> None:
    def seed() -> tuple[Path, bytes, int]:
        with World(7, cache=tmp_path) as world:
            account = world.add_account()
            account.seed_records(6000)
            path = account.car()
            _, found = walk(path.read_bytes())
            assert {key.encode(): cid for key, cid in found.items()} == dict(account.repo.listing())
            written = path.stat().st_mtime_ns
            account.change_records(0.01)
            _, changed = walk(account.car_bytes())
            assert changed.keys() == found.keys()
            assert sum(changed[key] != found[key] for key in found) == 60
            assert len(account.expected()) == 6000
            assert account.expected_cids() == {key: row.cid for key, row in account.expected().items()}
            return path, path.read_bytes(), written

    first = seed()
    assert seed() == first


def test_the_cutoff_takes_the_earlier_of_created_at_and_tid() -> None:
    with World() as world:
        account = world.add_account()
        account.seed_odd_records()
        now = world.clock.now_us
        texts = [row.value.get("text") for row in account.expected(now - 86_400_000_000).values()]
        assert "before\ufffdafter" in texts
        assert not {"imported", "dated ahead", "with an offset"} & set(texts)
        undated = [key for key in account.expected(now + 86_400_000_000) if key[0] == "com.example.odd.undated"]
        assert len(undated) == 4


def test_invalid_records_are_in_the_car_but_not_expected() -> None:
    with World() as world:
        account = world.add_account()
        account.put_invalid("com.example.bad", "one", b"\x81\x01")
        account.apply_writes([Write("create", "com.example.good", "one", {"$type": "com.example.good"})])
        assert set(account.expected()) == {("com.example.good", "one")} == set(account.expected_cids())
        assert b"\x81\x01" in account.car_bytes()


def _der(signature: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))


def test_a_repo_may_be_written_to_while_it_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    building, build = Event(), tree.build

    def build_slowly(record_keys: Sequence[bytes], cids: Sequence[bytes]) -> tree.Node:
        building.set()
        time.sleep(0.1)
        return build(record_keys, cids)

    with World(seed=9) as world, ThreadPoolExecutor() as pool:
        account = world.add_account()
        account.seed_records(300)
        monkeypatch.setattr(tree, "build", build_slowly)
        exporting = pool.submit(account.car_bytes)
        assert building.wait(10)
        rkey = account.post("meanwhile")
        exporting.result()
        assert rkey in {key for _, key in account.expected()}
        commit, records = walk(account.car_bytes())
        assert (commit["rev"], len(records)) == (account.repo.rev, 301)
