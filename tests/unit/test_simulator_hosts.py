"""The simulated hosts answer as real ones do, and fail as they are told to."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from coincurve import PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from simulator import (
    Account,
    Answer,
    Endless,
    FlipBit,
    Gate,
    GzipBomb,
    Hang,
    Redirect,
    Reset,
    Slow,
    Truncate,
    World,
    Write,
)
from simulator.dagcbor import cid_text
from simulator_client import get_body, get_json

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World(1, hosts=2) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


@pytest.fixture
def alice(world: World) -> Account:
    account = world.add_account()
    account.seed_records(200)
    return account


def repo_url(account: Account) -> str:
    return f"{account.host.url}/xrpc/com.atproto.sync.getRepo?did={account.did}"


async def test_the_directory_serves_documents_and_forgets(
    world: World, alice: Account, client: aiohttp.ClientSession
) -> None:
    status, document = await get_json(client, f"{world.plc.url}/{alice.did}")
    assert status == 200
    assert document["service"][0]["serviceEndpoint"] == alice.host.url
    assert document["verificationMethod"][0]["publicKeyMultibase"] == alice.key.multibase
    alice.rotate_key()
    _, rotated = await get_json(client, f"{world.plc.url}/{alice.did}")
    assert rotated["verificationMethod"] != document["verificationMethod"]
    alice.tombstone()
    assert (await get_json(client, f"{world.plc.url}/{alice.did}"))[0] == 410
    assert (await get_json(client, f"{world.plc.url}/did:plc:{'a' * 24}"))[0] == 404


@pytest.mark.parametrize("chunked", [False, True])
async def test_get_repo_serves_the_car(alice: Account, client: aiohttp.ClientSession, chunked: bool) -> None:
    alice.host.chunked = chunked
    async with client.get(repo_url(alice)) as response:
        assert response.headers["Content-Type"] == "application/vnd.ipld.car"
        assert ("Content-Length" in response.headers) is not chunked
        assert await response.read() == alice.car_bytes()
    assert alice.host.count("getRepo", did=alice.did) == 1
    assert alice.host.count("getRepo", did="did:plc:other") == 0


async def test_heads_and_lists_follow_the_commits(alice: Account, client: aiohttp.ClientSession) -> None:
    base = f"{alice.host.url}/xrpc/com.atproto.sync."
    _, before = await get_json(client, f"{base}getLatestCommit?did={alice.did}")
    alice.post("later")
    _, after = await get_json(client, f"{base}getLatestCommit?did={alice.did}")
    assert before["rev"] < after["rev"] == alice.repo.rev
    assert after["cid"] == cid_text(alice.repo.head.cid)
    _, listed = await get_json(client, f"{base}listRepos")
    assert listed["repos"] == [{"did": alice.did, "head": after["cid"], "rev": after["rev"], "active": True}]


async def test_list_repos_pages(world: World, client: aiohttp.ClientSession) -> None:
    host = world.hosts[0]
    dids = sorted(world.add_account(host=host).did for _ in range(5))
    seen: list[str] = []
    cursor = ""
    for _ in range(10):
        _, page = await get_json(client, f"{host.url}/xrpc/com.atproto.sync.listRepos?limit=2&cursor={cursor}")
        seen += [repo["did"] for repo in page["repos"]]
        cursor = page.get("cursor")
        if cursor is None:
            break
    assert seen == dids


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("deactivated", "RepoDeactivated"),
        ("suspended", "RepoSuspended"),
        ("takendown", "RepoTakendown"),
        ("deleted", "RepoNotFound"),
    ],
)
async def test_unavailable_repos_are_refused_by_name(
    alice: Account, client: aiohttp.ClientSession, status: Any, error: str
) -> None:
    alice.status = status
    for method in ("sync.getRepo", "sync.getLatestCommit"):
        code, body = await get_json(client, f"{alice.host.url}/xrpc/com.atproto.{method}?did={alice.did}")
        assert (code, body["error"]) == (400, error)
    code, body = await get_json(client, f"{alice.host.url}/xrpc/com.atproto.sync.getRepoStatus?did={alice.did}")
    assert body.get("status", body.get("error")) == ("RepoNotFound" if status == "deleted" else status)


async def test_a_migrated_account_lives_on_its_new_host(
    world: World, alice: Account, client: aiohttp.ClientSession
) -> None:
    new = world.hosts[1]
    old_url = repo_url(alice)
    alice.migrate(new)
    code, body = await get_json(client, old_url)
    assert (code, body["error"]) == (400, "RepoDeactivated")
    assert await get_body(client, repo_url(alice)) == alice.car_bytes()
    _, document = await get_json(client, f"{world.plc.url}/{alice.did}")
    assert document["service"][0]["serviceEndpoint"] == new.url


async def test_list_records_pages_give_every_record(alice: Account, client: aiohttp.ClientSession) -> None:
    alice.seed_odd_records()
    expected = {rkey: row for (collection, rkey), row in alice.expected().items() if collection == "app.bsky.feed.like"}
    for reverse in ("false", "true"):
        seen: list[str] = []
        cursor: str | None = ""
        for _ in range(20):
            url = f"{alice.host.url}/xrpc/com.atproto.repo.listRecords?repo={alice.did}&collection=app.bsky.feed.like"
            more = f"&cursor={cursor}" if cursor else ""
            _, page = await get_json(client, f"{url}&limit=20&reverse={reverse}{more}")
            for record in page["records"]:
                rkey = record["uri"].rpartition("/")[2]
                assert (record["cid"], record["value"]) == expected[rkey]
                seen.append(rkey)
            cursor = page.get("cursor")
            if cursor is None:
                break
        assert seen == sorted(expected, reverse=reverse == "false")


async def test_handles_resolve_both_ways(world: World, alice: Account, client: aiohttp.ClientSession) -> None:
    base = world.hosts[1].url
    url = f"{base}/xrpc/com.atproto.identity.resolveHandle?handle="
    assert await get_json(client, url + alice.handle) == (200, {"did": alice.did})
    assert (await get_json(client, url + "nobody.sim.test"))[0] == 400
    async with client.get(f"{base}/.well-known/atproto-did", headers={"Host": alice.handle}) as response:
        assert await response.text() == alice.did
    alice.rename("renamed.sim.test")
    assert (await get_json(client, url + "alice.sim.test"))[0] == 400
    assert await get_json(client, url + "renamed.sim.test") == (200, {"did": alice.did})


async def test_did_web_accounts_have_a_host_of_their_own(client: aiohttp.ClientSession) -> None:
    world = World(2)
    account = world.add_account(method="web", curve="p256")
    account.post("hello")
    async with world:
        port = account.did.removeprefix("did:web:localhost%3A")
        _, document = await get_json(client, f"http://localhost:{port}/.well-known/did.json")
        assert document["id"] == account.did
        async with client.get(
            f"{account.host.url}/xrpc/com.atproto.sync.getRepo", params={"did": account.did}
        ) as response:
            assert await response.read() == account.car_bytes()


async def test_service_auth_takes_a_session(alice: Account, client: aiohttp.ClientSession) -> None:
    base = f"{alice.host.url}/xrpc/com.atproto.server."
    login = {"identifier": alice.handle, "password": alice.password}
    async with client.post(base + "createSession", json=login | {"password": "no"}) as response:
        assert response.status == 401
    async with client.post(base + "createSession", json=login) as response:
        session = await response.json()
    url = f"{base}getServiceAuth?aud=did:web:aud.test&lxm=a.b.c"
    assert (await get_json(client, url))[0] == 401
    status, body = await get_json(client, url, Authorization=f"Bearer {session['accessJwt']}")
    assert status == 200
    header, payload, signature = body["token"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert (claims["iss"], claims["aud"], claims["lxm"]) == (alice.did, "did:web:aud.test", "a.b.c")
    raw = base64.urlsafe_b64decode(signature + "==")
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    digest = sha256(f"{header}.{payload}".encode()).digest()
    assert PublicKey(alice.key._public()).verify(der, digest, hasher=None)


async def test_answers_are_given_so_many_times(alice: Account, client: aiohttp.ClientSession) -> None:
    alice.fault(Answer(status=429, headers={"Retry-After": "7"}, times=2))
    for _ in range(2):
        async with client.get(repo_url(alice)) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "7")
    assert await get_body(client, repo_url(alice)) == alice.car_bytes()


async def test_faults_of_one_account_spare_the_others(
    world: World, alice: Account, client: aiohttp.ClientSession
) -> None:
    other = world.add_account(host=alice.host)
    alice.fault(Answer(status=503, times=None))
    assert await get_body(client, repo_url(other)) == other.car_bytes()
    async with client.get(repo_url(alice)) as response:
        assert response.status == 503


async def test_a_bit_is_flipped(alice: Account, client: aiohttp.ClientSession) -> None:
    alice.fault(FlipBit(at=1000))
    true, spoilt = alice.car_bytes(), await get_body(client, repo_url(alice))
    assert [at for at in range(len(true)) if true[at] != spoilt[at]] == [1000]


async def test_connections_break_in_mid_car(alice: Account, client: aiohttp.ClientSession) -> None:
    alice.fault(Reset(at=5000))
    with pytest.raises(aiohttp.ClientError):
        await get_body(client, repo_url(alice))
    alice.fault(Truncate(at=5000))
    with pytest.raises(aiohttp.ClientPayloadError):
        await get_body(client, repo_url(alice))
    alice.fault(Truncate(at=5000, declare="part"))
    assert await get_body(client, repo_url(alice)) == alice.car_bytes()[:5000]
    alice.fault(Truncate(at=5000, declare="not"))
    assert await get_body(client, repo_url(alice)) == alice.car_bytes()[:5000]
    assert await get_body(client, repo_url(alice)) == alice.car_bytes()


async def test_slow_and_silent_hosts_can_be_left(alice: Account, client: aiohttp.ClientSession) -> None:
    for fault in (Slow(bytes_per_s=100), Hang(seconds=30)):
        alice.fault(fault)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(get_body(client, repo_url(alice)), 0.3)
    alice.fault(Hang(seconds=0))
    assert await get_body(client, repo_url(alice)) == alice.car_bytes()


async def test_endless_bodies_begin_with_the_car_and_go_on(alice: Account, client: aiohttp.ClientSession) -> None:
    true = alice.car_bytes()
    alice.fault(Endless())
    async with client.get(repo_url(alice)) as response:
        assert await response.content.readexactly(len(true)) == true
        more = await response.content.readexactly(1_000_000)
        assert len(set(more)) > 1
    alice.fault(Endless(limit=1000))
    assert len(await get_body(client, repo_url(alice))) > len(true) + 1000


async def test_a_gzip_bomb_is_small_on_the_wire(alice: Account, client: aiohttp.ClientSession) -> None:
    alice.fault(GzipBomb(size=64 << 20))
    async with client.get(repo_url(alice)) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert len(await response.read()) < 200_000


async def test_redirects_point_where_they_are_told(alice: Account, client: aiohttp.ClientSession) -> None:
    alice.fault(Redirect(location="http://10.0.0.1/"))
    async with client.get(repo_url(alice), allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "http://10.0.0.1/")


async def test_a_gate_holds_a_fetch_in_the_middle(alice: Account, client: aiohttp.ClientSession) -> None:
    gate = alice.fault(Gate(at=2000))
    fetch = asyncio.create_task(get_body(client, repo_url(alice)))
    await asyncio.wait_for(gate.reached.wait(), 60)
    assert not fetch.done()
    gate.open()
    assert await asyncio.wait_for(fetch, 60) == alice.car_bytes()


async def test_a_stale_document_and_a_forged_car_can_be_scripted(
    world: World, alice: Account, client: aiohttp.ClientSession
) -> None:
    stale = json.dumps(alice.document()).encode()
    alice.rotate_key()
    world.plc.faults.add(Answer(path=alice.did, body=stale))
    _, first = await get_json(client, f"{world.plc.url}/{alice.did}")
    _, second = await get_json(client, f"{world.plc.url}/{alice.did}")
    assert first["verificationMethod"] != second["verificationMethod"] == alice.document()["verificationMethod"]
    forged = alice.car_bytes(key=alice.new_key())
    assert forged != alice.car_bytes()
    assert len(forged) == len(alice.car_bytes())


async def test_a_host_goes_down_and_comes_back_on_its_port(alice: Account, client: aiohttp.ClientSession) -> None:
    await alice.host.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await get_body(client, repo_url(alice))
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", alice.host.port))
    await alice.host.start()
    assert await get_body(client, repo_url(alice)) == alice.car_bytes()


def test_writes_that_cannot_be_are_refused() -> None:
    with World() as world:
        account = world.add_account()
        rkey = account.post("one")
        with pytest.raises(KeyError):
            account.create("app.bsky.feed.post", {}, rkey)
        good = Write("create", "app.bsky.feed.post", "good", {})
        head = account.repo.head
        with pytest.raises(KeyError):
            account.apply_writes([good, Write("delete", "app.bsky.feed.post", "none")])
        assert account.repo.head == head
        assert set(account.expected()) == {("app.bsky.feed.post", rkey)}
