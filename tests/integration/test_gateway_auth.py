"""Who gets in: service-auth tokens against DID documents, replay, and the operators' token."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from api_gateway.auth.methods import Method
from api_gateway.auth.operator import FILE_NAME
from gateway_harness import GATEWAY_DID, PROBLEM, Bystander, RunningGateway, bearer, running_gateway
from simulator.keys import K256Key
from simulator.world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(seed=61)
    world.add_account()
    world.add_account(curve="p256")
    world.add_account(method="web")
    async with world:
        yield world


async def stats(gateway: RunningGateway, headers: dict[str, str]) -> httpx.Response:
    return await gateway.client.get("/api/user/stats", headers=headers)


def refused(answer: httpx.Response, reason: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (401, PROBLEM), answer.text
    assert answer.json()["reason"] == reason
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_every_kind_of_account_gets_in(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    for account in world.accounts:
        answer = await stats(gateway, bearer(account, Method.GET_STATS))
        assert (answer.status_code, answer.json().get("did")) == (200, account.did), answer.text


async def test_without_a_token_nobody_gets_in(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}):
        refused(await stats(gateway, headers), "no_credentials")
    refused(await stats(gateway, gateway.operator), "token_malformed")
    for path in ("backfill", "backfill/x", "backfill/x/events", "settings"):
        refused(await gateway.client.get(f"/api/user/{path}"), "no_credentials")
    refused(await gateway.client.delete("/api/user/backfill/x"), "no_credentials")
    refused(await gateway.client.post("/api/user/backfill", json={"days": 1}), "no_credentials")


async def test_a_token_opens_its_own_method_only(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    for method in Method:
        answer = await stats(gateway, bearer(alice, method))
        if method is Method.GET_STATS:
            assert answer.status_code == 200
        else:
            refused(answer, "token_method")
            assert Method.GET_STATS in answer.json()["detail"]


async def test_claims_are_checked(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice, now = world.accounts[0], time.time()
    for claims, reason in (
        ({"aud": "did:web:other.test"}, "token_audience"),
        ({"exp": now - 1, "iat": now - 30}, "token_expired"),
        ({"exp": now + 4000}, "token_lifetime"),
        ({"iat": now + 120, "exp": now + 180}, "token_not_yet_valid"),
    ):
        refused(await stats(gateway, bearer(alice, Method.GET_STATS, **claims)), reason)


async def test_a_token_of_somebody_elses_key_is_refused(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice, bob, carol = world.accounts
    for key in (carol.key, bob.key, K256Key(b"\x07" * 32)):
        refused(await stats(gateway, bearer(alice, Method.GET_STATS, key=key)), "token_signature")
    # The right key under the other curve's name.
    refused(await stats(gateway, bearer(alice, Method.GET_STATS, algorithm="ES256")), "token_signature")


async def test_a_token_that_was_changed_is_refused(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice, bob = world.accounts[:2]
    header, _, signature = bearer(alice, Method.GET_STATS)["Authorization"].removeprefix("Bearer ").split(".")
    _, others, _ = bearer(bob, Method.GET_STATS)["Authorization"].removeprefix("Bearer ").split(".")
    refused(await stats(gateway, {"Authorization": f"Bearer {header}.{others}.{signature}"}), "token_signature")


async def test_a_high_s_signature_is_refused(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    text = bearer(world.accounts[0], Method.GET_STATS)["Authorization"].removeprefix("Bearer ")
    signed, _, signature = text.rpartition(".")
    both = base64.urlsafe_b64decode(signature + "==")
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = both[:32] + (order - int.from_bytes(both[32:], "big")).to_bytes(32, "big")
    other = base64.urlsafe_b64encode(high).decode().rstrip("=")
    refused(await stats(gateway, {"Authorization": f"Bearer {signed}.{other}"}), "token_signature")


async def test_tokens_without_a_signature_are_refused(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    refused(await stats(gateway, bearer(alice, Method.GET_STATS, algorithm="none")), "token_algorithm")
    unsigned = _jws({"alg": "none", "typ": "JWT"}, _claims(alice.did), b"")
    refused(await stats(gateway, {"Authorization": f"Bearer {unsigned}"}), "token_malformed")


async def test_the_public_key_is_no_shared_secret(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    signed = _jws({"alg": "HS256", "typ": "JWT"}, _claims(alice.did), b"").rstrip(".")
    for secret in (alice.key.multibase, alice.key.did_key):
        mac = hmac.digest(secret.encode(), signed.encode(), sha256)
        text = f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
        refused(await stats(gateway, {"Authorization": f"Bearer {text}"}), "token_algorithm")


async def test_a_key_that_was_rotated_is_looked_up_again(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    assert (await stats(gateway, bearer(alice, Method.GET_STATS))).status_code == 200
    old = alice.key
    alice.rotate_key()
    assert (await stats(gateway, bearer(alice, Method.GET_STATS))).status_code == 200
    refused(await stats(gateway, bearer(alice, Method.GET_STATS, key=old)), "token_signature")


async def test_bad_tokens_do_not_make_the_directory_busy(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    for _ in range(20):
        refused(await stats(gateway, bearer(alice, Method.GET_STATS, key=K256Key(b"\x07" * 32))), "token_signature")
    assert len([one for one in world.plc.requests if one.path == f"/{alice.did}"]) == 2


async def test_an_account_that_does_not_exist_is_refused(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    alice = world.accounts[0]
    for iss in ("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:key:zabc", "did:example:abc"):
        refused(await stats(gateway, bearer(alice, Method.GET_STATS, iss=iss)), "token_issuer")
    alice.tombstone()
    refused(await stats(gateway, bearer(alice, Method.GET_STATS)), "token_issuer")


async def test_a_directory_that_is_away_refuses_nobody_for_good(
    gateway: RunningGateway, bus: Bystander, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.plc.stop()
    answer = await stats(gateway, bearer(world.accounts[0], Method.GET_STATS))
    assert (answer.status_code, answer.json()["reason"]) == (503, "unavailable")
    assert f"503 for GET /api/user/stats: {answer.json()['detail']}" in caplog.messages
    await world.plc.start()
    assert (await stats(gateway, bearer(world.accounts[0], Method.GET_STATS))).status_code == 200


async def test_a_token_that_changes_something_is_good_once(
    gateway: RunningGateway, bus: Bystander, world: World
) -> None:
    alice = world.accounts[0]
    headers = bearer(alice, Method.REQUEST_BACKFILL)
    answers = await asyncio.gather(
        *(gateway.client.post("/api/user/backfill", json={"days": 1}, headers=headers) for _ in range(10))
    )
    assert sorted(answer.status_code for answer in answers) == [202] + [401] * 9
    for answer in answers:
        if answer.status_code == 401:
            refused(answer, "token_used")
    job_id = (await bus.queued(alice.did)).job_id  # type: ignore[union-attr]
    once = bearer(alice, Method.CANCEL_BACKFILL)
    assert (await gateway.client.delete(f"/api/user/backfill/{job_id}", headers=once)).status_code == 202
    refused(await gateway.client.delete(f"/api/user/backfill/{job_id}", headers=once), "token_used")


async def test_a_used_token_is_refused_by_every_gateway(
    gateway: RunningGateway, bus: Bystander, world: World, nats_url: str, tmp_path: Path
) -> None:
    headers = bearer(world.accounts[0], Method.REQUEST_BACKFILL)
    assert (await gateway.client.post("/api/user/backfill", json={"days": 1}, headers=headers)).status_code == 202
    async with running_gateway(nats_url, world.plc.url, tmp_path / "other") as other:
        refused(await other.client.post("/api/user/backfill", json={"days": 1}, headers=headers), "token_used")


async def test_a_used_token_is_refused_in_another_spelling(
    gateway: RunningGateway, bus: Bystander, world: World
) -> None:
    text = bearer(world.accounts[0], Method.REQUEST_BACKFILL)["Authorization"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]
    first = await gateway.client.post("/api/user/backfill", json={"days": 1}, headers={"Authorization": text})
    second = await gateway.client.post("/api/user/backfill", json={"days": 1}, headers={"Authorization": other})
    assert first.status_code == 202
    refused(second, "token_used")


async def test_a_reading_token_is_good_until_it_expires(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    headers = bearer(world.accounts[0], Method.GET_STATS)
    for _ in range(3):
        assert (await stats(gateway, headers)).status_code == 200


async def test_operators_need_their_token(gateway: RunningGateway, bus: Bystander, world: World) -> None:
    token = (gateway.home / FILE_NAME).read_text().strip()
    user = bearer(world.accounts[0], Method.REQUEST_BACKFILL)
    wrong = [{}, user, {"Authorization": f"Bearer {token[:-1]}"}, {"Authorization": f"Basic {token}"}]
    for method, path in (
        ("POST", "backfill"),
        ("GET", "jobs"),
        ("GET", "jobs/x"),
        ("GET", "jobs/x/events"),
        ("POST", "jobs/x/cancel"),
        ("POST", "jobs/x/retry"),
        ("POST", "repo-backfill/pause"),
        ("POST", "repo-backfill/resume"),
        ("GET", "status"),
        ("POST", "import?did=did:plc:a"),
    ):
        for headers in wrong:
            answer = await gateway.client.request(method, f"/api/admin/{path}", headers=headers)
            refused(answer, "not_an_operator")
    assert (await gateway.client.get("/api/admin/jobs", headers=gateway.operator)).status_code == 200


def _claims(did: str) -> dict[str, object]:
    now = int(time.time())
    return {"iss": did, "aud": GATEWAY_DID, "lxm": Method.GET_STATS.value, "iat": now, "exp": now + 60}


def _jws(header: object, claims: object, signature: bytes) -> str:
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
