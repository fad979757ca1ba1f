"""Logins that go well, and every way in which one must not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import nats
import pytest

from api_gateway.auth.login_limits import PER_ACTOR
from gateway_harness import Bystander, RunningGateway, running_gateway
from simulator import Account, Pds, World

PAGE = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World(4, hosts=2) as world:
        yield world


@pytest.fixture
def server(world: World) -> Pds:
    """The PDS of Alice and Bob, with its authorization server."""
    return world.hosts[0]


@pytest.fixture
def alice(world: World, server: Pds) -> Account:
    return world.add_account("alice.test", host=server)


@pytest.fixture
def bob(world: World, server: Pds) -> Account:
    return world.add_account("bob.test", host=server)


@pytest.fixture
async def gateway(
    nats_url: str, world: World, server: Pds, alice: Account, tmp_path: Path
) -> AsyncIterator[RunningGateway]:
    async with running_gateway(nats_url, world.plc.url, tmp_path, handle_resolver_url=server.url) as running:
        yield running


class Browser:
    """A browser: its own cookies, and requests from the gateway's own pages."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.http = httpx.AsyncClient(base_url=gateway.client.base_url, headers=PAGE, timeout=60)

    async def begin(self, actor: str = "alice.test") -> httpx.Response:
        return await self.http.post("/oauth/login", data={"actor": actor})

    async def location(self, actor: str = "alice.test") -> str:
        answer = await self.begin(actor)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def callback(self, parameters: dict[str, str]) -> httpx.Response:
        return await self.http.get("/oauth/callback", params=parameters)

    async def log_in(self, account: Account, actor: str | None = None) -> None:
        location = await self.location(actor or account.handle)
        answer = await self.callback(account.host.authorization.answer(location, account.did))
        assert (answer.status_code, answer.headers.get("location")) == (303, "/user"), answer.text

    async def me(self) -> str | None:
        """Whose session this browser has."""
        answer = await self.http.get("/api/user/stats")
        return answer.json()["did"] if answer.status_code == 200 else None


@pytest.fixture
async def browser(gateway: RunningGateway, bus: Bystander) -> AsyncIterator[Browser]:
    browser = Browser(gateway)
    yield browser
    await browser.http.aclose()


@pytest.fixture
async def other(gateway: RunningGateway, bus: Bystander) -> AsyncIterator[Browser]:
    browser = Browser(gateway)
    yield browser
    await browser.http.aclose()


def page_of(answer: httpx.Response, status: int, text: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8"), answer.text
    assert text in answer.text


@pytest.mark.parametrize("by", ["handle", "@Handle", "DID", "server"])
async def test_a_login_by_every_name(server: Pds, alice: Account, browser: Browser, by: str) -> None:
    names = {"handle": "alice.test", "@Handle": "@Alice.test", "DID": alice.did, "server": server.url}
    await browser.log_in(alice, names[by])
    assert await browser.me() == alice.did
    assert "alice.test" in (await browser.http.get("/user")).text
    grants = server.authorization.grants
    assert (grants.running, [grant.did for grant in grants.ended]) == ([], [alice.did])


async def test_the_bus_keeps_no_secret(server: Pds, alice: Account, browser: Browser, nats_url: str) -> None:
    await browser.log_in(alice)
    client = await nats.connect(nats_url)
    try:
        kept = b""
        for bucket in ("sessions", "logins"):
            for key in await (await client.jetstream().key_value(bucket)).keys():
                entry = await (await client.jetstream().key_value(bucket)).get(key)
                kept += key.encode() + (entry.value or b"")
    finally:
        await client.close()
    assert b"alice.test" in kept
    (granted,) = server.authorization.grants.ended
    for secret in (granted.access_token, granted.refresh_token, *browser.http.cookies.values(), "PRIVATE KEY"):
        assert secret.encode() not in kept


async def test_a_callback_is_good_once(server: Pds, alice: Account, browser: Browser, other: Browser) -> None:
    parameters = server.authorization.answer(await browser.location(), alice.did)
    page_of(await other.callback(parameters), 403, "begun in another browser")
    other.http.cookies.set("headwater-login", "x" * 43, path="/oauth")
    page_of(await other.callback(parameters), 403, "begun in another browser")
    marks = {cookie.name: cookie.value or "" for cookie in browser.http.cookies.jar}
    answers = await asyncio.gather(browser.callback(parameters), browser.callback(parameters))
    assert sorted(answer.status_code for answer in answers) == [303, 400]
    assert await browser.me() == alice.did
    browser.http.cookies.set("headwater-login", marks["headwater-login"], path="/oauth")
    page_of(await browser.callback(parameters), 400, "used before")
    page_of(await browser.callback({**parameters, "state": "never"}), 400, "expired")
    page_of(await browser.callback({}), 400, "expired")
    assert await other.me() is None


async def test_an_answer_of_another_issuer_is_refused(server: Pds, alice: Account, browser: Browser) -> None:
    for issuer in ("https://evil.example", None):
        parameters = server.authorization.answer(await browser.location(), alice.did)
        del parameters["iss"]
        answer = await browser.callback(parameters if issuer is None else {**parameters, "iss": issuer})
        page_of(answer, 403, "did not come from the host")
    assert await browser.me() is None
    assert server.authorization.grants.running == server.authorization.grants.ended == []


async def test_a_server_cannot_vouch_for_accounts_of_others(
    world: World, server: Pds, bob: Account, browser: Browser
) -> None:
    carla = world.add_account("carla.test", host=world.hosts[1])
    liar = server.authorization
    answer = await browser.callback(liar.answer(await browser.location(server.url), carla.did))
    page_of(answer, 403, "did not come from the host")
    answer = await browser.callback(liar.answer(await browser.location("alice.test"), bob.did))
    page_of(answer, 403, "another account")
    assert await browser.me() is None


async def test_a_no_is_a_no(server: Pds, alice: Account, browser: Browser) -> None:
    authorization = server.authorization
    denied = authorization.answer(await browser.location(), None)
    page_of(await browser.callback(denied), 403, "did not allow the login")
    parameters = authorization.answer(await browser.location(), alice.did)
    page_of(await browser.callback({**parameters, "code": "wrong"}), 502, "did not accept the login")
    assert await browser.me() is None


async def test_a_code_is_good_for_the_login_that_it_was_given_to(
    server: Pds, alice: Account, bob: Account, browser: Browser
) -> None:
    first = server.authorization.answer(await browser.location(server.url), alice.did)
    second = server.authorization.answer(await browser.location(server.url), bob.did)
    page_of(await browser.callback({**first, "code": second["code"]}), 502, "did not accept the login")
    page_of(await browser.callback(second), 502, "did not accept the login")
    assert await browser.me() is None
    assert server.authorization.grants.running == []


async def test_a_nonce_that_changes_during_a_login(server: Pds, alice: Account, browser: Browser) -> None:
    location = await browser.location()
    for _ in range(2):  # the one before the newest is still taken
        server.authorization.proofs.rotate()
    answer = await browser.callback(server.authorization.answer(location, alice.did))
    assert answer.status_code == 303, answer.text
    assert await browser.me() == alice.did


@pytest.mark.parametrize(
    ("actor", "status", "text"),
    [
        ("", 422, "neither a handle nor a DID"),
        ("not a handle", 422, "neither a handle nor a DID"),
        ("x" * 600, 422, "neither a handle nor a DID"),
        ("nobody.test", 404, "identity could not be read"),
        ("did:plc:" + "c" * 24, 404, "identity could not be read"),
        ("http://127.0.0.1:1", 503, "does not answer just now"),
        ("file:///etc/passwd", 422, "may not connect to"),
        ("<script>alert(1)</script>.test", 422, "&lt;script&gt;"),
    ],
)
async def test_who_cannot_log_in_is_told_why(browser: Browser, actor: str, status: int, text: str) -> None:
    page_of(await browser.begin(actor), status, text)


async def test_http_ports_and_loopback_are_for_development_alone(
    nats_url: str, world: World, server: Pds, tmp_path: Path
) -> None:
    async with running_gateway(nats_url, world.plc.url, tmp_path, allow_private_hosts=False) as gateway:
        for actor in (server.url, "http://pds.example", "https://pds.example:8443"):
            answer = await gateway.client.post("/oauth/login", data={"actor": actor}, headers=PAGE)
            page_of(answer, 422, "may not connect to")
    assert server.requests == []


@pytest.mark.parametrize(
    "metadata", [{"require_pushed_authorization_requests": False}, {"scopes_supported": []}, {"token_endpoint": 7}]
)
async def test_a_host_without_the_profile_is_refused(server: Pds, browser: Browser, metadata: dict[str, Any]) -> None:
    server.authorization.metadata = metadata
    page_of(await browser.begin(), 422, "offers no login")


async def test_logins_are_limited(browser: Browser) -> None:
    answers = [await browser.begin() for _ in range(PER_ACTOR[0] + 1)]
    assert [answer.status_code for answer in answers] == [303] * PER_ACTOR[0] + [429]
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_other_sites_cannot_use_a_session(alice: Account, browser: Browser, bus: Bystander) -> None:
    await browser.log_in(alice)
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}):
        for path, body in (("/api/user/backfill", {"json": {"days": 0}}), ("/user/backfill", {"data": {"days": "0"}})):
            answer = await browser.http.post(path, headers={**headers, "Accept": "*/*"}, **body)  # type: ignore[arg-type]
            assert (answer.status_code, answer.json()["reason"]) == (403, "cross_site")
        assert (await browser.http.post("/oauth/logout", headers=headers)).status_code == 403
        assert (await browser.http.post("/oauth/login", headers=headers, data={"actor": "a.test"})).status_code == 403
    assert await bus.queued(alice.did) is None
    assert await browser.me() == alice.did
    answer = await browser.http.post("/api/user/backfill", json={"days": 0})
    assert answer.status_code == 202
    assert await bus.queued(alice.did) is not None


async def test_every_route_that_changes_something_asks_where_from(alice: Account, browser: Browser) -> None:
    await browser.log_in(alice)
    paths = (await browser.http.get("/openapi.json")).json()["paths"]
    changing = [(m, p) for p, methods in paths.items() for m in methods if p.startswith("/api/user/") and m != "get"]
    assert len(changing) >= 5
    for method, path in changing:
        answer = await browser.http.request(
            method, path.format(job_id="x"), headers={"Sec-Fetch-Site": "cross-site", "Accept": "*/*"}
        )
        assert (answer.status_code, answer.json()["reason"]) == (403, "cross_site"), (method, path)


async def test_two_users_see_nothing_of_each_other(
    alice: Account, bob: Account, browser: Browser, other: Browser, bus: Bystander
) -> None:
    await browser.log_in(alice)
    await other.log_in(bob)
    job_id = (await browser.http.post("/api/user/backfill", json={"days": 0})).json()["job_id"]
    assert (await browser.http.get(f"/api/user/backfill/{job_id}")).status_code == 200
    headers = {"Accept": "*/*"}
    for method, path in (
        ("GET", f"/api/user/backfill/{job_id}"),
        ("GET", f"/api/user/backfill/{job_id}/events"),
        ("DELETE", f"/api/user/backfill/{job_id}"),
        ("GET", f"/user/backfill/{job_id}/events"),
        ("POST", f"/user/backfill/{job_id}/cancel"),
    ):
        answer = await other.http.request(method, path, headers=headers)
        assert answer.status_code == 404, (method, path, answer.text)
    assert job_id not in (await other.http.get("/user")).text
    assert (await other.http.get("/api/user/backfill")).json()["jobs"] == []
    assert await bus.queued(alice.did) is not None


async def test_a_session_ends_with_its_logout(alice: Account, browser: Browser, other: Browser) -> None:
    await browser.log_in(alice)
    await other.log_in(alice)
    stolen = dict(browser.http.cookies)
    await browser.http.post("/oauth/logout")
    for name, value in stolen.items():
        browser.http.cookies.set(name, value)
    assert (await browser.me(), await other.me()) == (None, alice.did)
    await browser.log_in(alice)
    await other.http.post("/oauth/logout", data={"everywhere": "yes"})
    assert (await browser.me(), await other.me()) == (None, None)
    answer = await browser.http.post("/user/backfill", data={"days": "7"}, headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/user")
    page_of(await browser.http.get("/user"), 200, "Your handle")


async def test_a_public_gateway_is_a_confidential_client(
    nats_url: str, world: World, server: Pds, alice: Account, tmp_path: Path
) -> None:
    documents: dict[str, Any] = {}

    async def hosted(url: str) -> object:
        return documents[url]

    server.authorization.fetch = hosted
    public = {"gateway_public_url": "https://headwater.example", "handle_resolver_url": server.url}
    async with running_gateway(nats_url, world.plc.url, tmp_path, **public) as gateway:
        metadata = (await gateway.client.get("/oauth/client-metadata.json")).json()
        documents[metadata["client_id"]] = metadata
        documents[metadata["jwks_uri"]] = (await gateway.client.get("/oauth/jwks.json")).json()
        assert metadata["client_id"] == "https://headwater.example/oauth/client-metadata.json"
        assert metadata["redirect_uris"] == ["https://headwater.example/oauth/callback"]
        answer = await gateway.client.post("/oauth/login", data={"actor": "alice.test"}, headers=PAGE)
        assert answer.status_code == 303, answer.text
        mark = answer.cookies["headwater-login"]
        assert "Secure" in answer.headers["set-cookie"]
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        parameters = server.authorization.answer(answer.headers["location"], alice.did)
        answer = await gateway.client.get(
            "/oauth/callback", params=parameters, headers={"Cookie": f"headwater-login={mark}"}
        )
        assert answer.status_code == 303, answer.text
        (session,) = [c for c in answer.headers.get_list("set-cookie") if c.startswith("__Host-headwater-session=")]
        assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= set(session.split("; "))
        assert [grant.did for grant in server.authorization.grants.ended] == [alice.did]


async def test_on_loopback_there_is_no_metadata_and_one_address(gateway: RunningGateway) -> None:
    assert (await gateway.client.get("/oauth/client-metadata.json")).status_code == 404
    port = gateway.client.base_url.port
    answer = await gateway.client.get("/user", headers={"Host": f"localhost:{port}"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"http://127.0.0.1:{port}/user")
