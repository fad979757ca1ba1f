"""The simulated authorization server takes what the OAuth profile of AT Protocol allows, and nothing else.

The client here is made of PyJWT and of what the specifications say, not of the gateway's.
"""

from __future__ import annotations

import base64
import html
import re
import secrets
import time
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from simulator import Account, World
from simulator.oauth.clients import find_client
from simulator.oauth.errors import OAuthError

REDIRECT = "http://127.0.0.1:8080/oauth/callback"
LOOPBACK = "http://localhost?" + urlencode({"redirect_uri": REDIRECT, "scope": "atproto"})
HOSTED = "https://app.example/client.json"


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(sha256(text.encode()).digest()).decode().rstrip("=")


class App:
    """A client with one DPoP key, which begins every request as it should and lets tests spoil it."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.nonce: str | None = None
        self.verifier = secrets.token_urlsafe(32)

    def proof(self, method: str, path: str, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        jwk = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        said = {"jti": secrets.token_hex(8), "htm": method, "htu": self.url + path, "iat": int(time.time())}
        said = {name: value for name, value in {**said, "nonce": self.nonce, **claims}.items() if value is not None}
        return jwt.encode(said, self.key, "ES256", headers={"typ": "dpop+jwt", "jwk": jwk, **(header or {})})

    async def post(self, path: str, form: dict[str, str], proof: str | None = None) -> tuple[int, dict[str, Any]]:
        """An answer; the nonce that it brings is used from then on."""
        headers = {} if proof == "" else {"DPoP": proof or self.proof("POST", path)}
        async with self.http.post(self.url + path, data=form, headers=headers) as answer:
            self.nonce = answer.headers["DPoP-Nonce"]
            return answer.status, await answer.json(content_type=None) or {}

    def request(self, **fields: str | None) -> dict[str, str]:
        form: dict[str, str | None] = {
            "client_id": LOOPBACK,
            "redirect_uri": REDIRECT,
            "response_type": "code",
            "scope": "atproto",
            "state": "a-state",
            "code_challenge": digest(self.verifier),
            "code_challenge_method": "S256",
        }
        return {name: value for name, value in {**form, **fields}.items() if value is not None}

    async def pushed(self, **fields: str | None) -> str:
        """The authorization page's URL for a request that was taken."""
        status, answer = await self.post("/oauth/par", self.request(**fields))
        assert status == 201, answer
        return f"{self.url}/oauth/authorize?" + urlencode(
            {"client_id": fields.get("client_id") or LOOPBACK, "request_uri": answer["request_uri"]}
        )

    def redemption(self, code: str, /, **fields: str) -> dict[str, str]:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "client_id": LOOPBACK}
        return {**form, "code_verifier": self.verifier, **fields}

    async def session(self, token: str, **claims: Any) -> tuple[int, dict[str, Any]]:
        path = "/xrpc/com.atproto.server.getSession"
        claims = {"ath": digest(token), **claims}
        headers = {"Authorization": f"DPoP {token}", "DPoP": self.proof("GET", path, **claims)}
        async with self.http.get(self.url + path, headers=headers) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def alice() -> AsyncIterator[Account]:
    async with World(3) as world:
        yield world.add_account("alice.test")


@pytest.fixture
async def app(alice: Account) -> AsyncIterator[App]:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        app = App(http, alice.host.url)
        status, answer = await app.post("/oauth/par", app.request())
        assert (status, answer["error"]) == (400, "use_dpop_nonce"), "without its nonce the server takes nothing"
        yield app


async def code_of(app: App, alice: Account) -> str:
    return alice.host.authorization.answer(await app.pushed(), alice.did)["code"]


async def test_a_code_becomes_tokens_that_say_who_it_is_until_they_are_revoked(app: App, alice: Account) -> None:
    status, tokens = await app.post("/oauth/token", app.redemption(await code_of(app, alice)))
    assert (status, tokens["sub"], tokens["scope"], tokens["token_type"]) == (200, alice.did, "atproto", "DPoP")
    old = tokens["access_token"]
    assert await app.session(old) == (200, {"did": alice.did, "handle": "alice.test", "active": True})
    refreshing = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_id": LOOPBACK}
    status, tokens = await app.post("/oauth/token", refreshing)
    assert status == 200
    assert (await app.post("/oauth/token", refreshing))[0] == 400, "a refresh token is good once"
    assert ((await app.session(old))[0], (await app.session(tokens["access_token"]))[0]) == (401, 200)
    for revoked in (tokens["refresh_token"], "unknown"):
        assert (await app.post("/oauth/revoke", {"token": revoked, "client_id": LOOPBACK}))[0] == 200
    assert (await app.session(tokens["access_token"]))[1]["error"] == "invalid_token"


async def test_a_token_is_of_use_with_its_proof_alone(app: App, alice: Account) -> None:
    _, tokens = await app.post("/oauth/token", app.redemption(await code_of(app, alice)))
    token = tokens["access_token"]
    assert (await app.session(token, ath=None))[1]["error"] == "invalid_dpop_proof"
    assert (await app.session(token, ath=digest("another")))[1]["error"] == "invalid_dpop_proof"
    assert (await app.session(token, nonce="old"))[1]["error"] == "use_dpop_nonce"
    app.key = ec.generate_private_key(ec.SECP256R1())
    assert (await app.session(token))[1]["error"] == "invalid_token"


@pytest.mark.parametrize(
    ("claims", "header"),
    [
        ({"htm": "GET"}, {}),
        ({"htu": "http://127.0.0.1:1/oauth/par"}, {}),
        ({"iat": int(time.time()) - 3600}, {}),
        ({"iat": "now"}, {}),
        ({"jti": None}, {}),
        ({}, {"typ": "JWT"}),
        ({}, {"jwk": ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)}),
        ({}, {"jwk": {"kty": "oct", "k": "c2VjcmV0"}}),
        ({}, {"jwk": 7}),
    ],
)
async def test_a_proof_that_does_not_hold(app: App, claims: dict[str, Any], header: dict[str, Any]) -> None:
    status, answer = await app.post(
        "/oauth/par", app.request(), app.proof("POST", "/oauth/par", header=header, **claims)
    )
    assert (status, answer["error"]) == (400, "invalid_dpop_proof")


async def test_a_proof_is_there_and_good_once(app: App) -> None:
    assert (await app.post("/oauth/par", app.request(), ""))[1]["error"] == "invalid_dpop_proof"
    assert (await app.post("/oauth/par", app.request(), "not.a.token"))[1]["error"] == "invalid_dpop_proof"
    proof = app.proof("POST", "/oauth/par")
    assert (await app.post("/oauth/par", app.request(), proof))[0] == 201
    assert (await app.post("/oauth/par", app.request(), proof))[1]["error"] == "invalid_dpop_proof"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"response_type": "token"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"state": None}, "invalid_request"),
        ({"scope": "atproto transition:generic"}, "invalid_scope"),
        ({"redirect_uri": "http://127.0.0.1:8080/elsewhere"}, "invalid_request"),
        ({"redirect_uri": "https://evil.example/oauth/callback"}, "invalid_request"),
        ({"request_uri": "urn:ietf:params:oauth:request_uri:x"}, "invalid_request"),
        ({"client_assertion": "x"}, "invalid_client"),
        ({"client_id": "http://localhost:8080"}, "invalid_client"),
        ({"client_id": "http://evil.example"}, "invalid_client"),
        ({"client_id": "http://localhost?redirect_uri=https%3A%2F%2Fevil.example"}, "invalid_redirect_uri"),
        ({"client_id": "http://localhost?secret=x"}, "invalid_client"),
        ({"client_id": "https://app.example/"}, "invalid_client"),
        ({"client_id": None}, "invalid_client"),
    ],
)
async def test_a_request_that_is_not_taken(app: App, fields: dict[str, str | None], error: str) -> None:
    status, answer = await app.post("/oauth/par", app.request(**fields))
    assert (status, answer["error"]) == (400, error)


async def test_on_loopback_the_port_is_free(app: App) -> None:
    await app.pushed(redirect_uri=REDIRECT.replace("8080", "49152"))


@pytest.mark.parametrize(
    "fields",
    [
        {"code_verifier": "w" * 43},
        {"redirect_uri": "http://127.0.0.1:9/oauth/callback"},
        {"code": "guessed"},
        {"client_id": "http://localhost"},
    ],
)
async def test_a_code_that_is_not_redeemed(app: App, alice: Account, fields: dict[str, str]) -> None:
    code = await code_of(app, alice)
    status, answer = await app.post("/oauth/token", app.redemption(code, **fields))
    assert (status, answer["error"]) == (400, "invalid_grant")


async def test_a_stolen_code_is_bound_to_the_key(app: App, alice: Account) -> None:
    code = await code_of(app, alice)
    app.key = ec.generate_private_key(ec.SECP256R1())
    assert (await app.post("/oauth/token", app.redemption(code)))[1]["error"] == "invalid_grant"


async def test_a_code_that_comes_twice_ends_what_it_brought(app: App, alice: Account) -> None:
    code = await code_of(app, alice)
    _, tokens = await app.post("/oauth/token", app.redemption(code))
    assert (await app.post("/oauth/token", app.redemption(code)))[1]["error"] == "invalid_grant"
    assert (await app.session(tokens["access_token"]))[0] == 401


# -- the pages


async def page(app: App, method: str, url: str, **form: str) -> tuple[int, str, str]:
    """(status, text, Location) of a page; forms are sent with the hidden fields of `url`, as browsers do."""
    fields = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()} | form
    arguments: dict[str, Any] = {"data": fields, "headers": {"Origin": app.url}} if method == "POST" else {}
    target = url if method == "GET" else url.partition("?")[0]
    async with app.http.request(method, target, allow_redirects=False, **arguments) as answer:
        return answer.status, html.unescape(await answer.text()), answer.headers.get("Location", "")


async def test_a_person_signs_in_and_consents(app: App, alice: Account) -> None:
    url = await app.pushed(login_hint="alice.test")
    status, text, _ = await page(app, "GET", url)
    assert (status, 'value="alice.test"' in text, "127.0.0.1:8080" in text) == (200, True, True)
    assert (await page(app, "POST", url, step="authorize"))[0] == 400, "nobody has signed in"
    for wrong in ({"identifier": "alice.test", "password": "guess"}, {"identifier": "x.test", "password": ""}, {}):
        status, text, _ = await page(app, "POST", url, step="sign-in", **wrong)
        assert (status, "Wrong handle or password." in text) == (401, True)
    right = {"identifier": "@Alice.test", "password": alice.password}
    status, text, _ = await page(app, "POST", url, step="sign-in", **right)
    assert (status, alice.did in text, re.findall(r"<button[^>]*>(\w+)", text)) == (200, True, ["Authorize", "Deny"])
    status, _, location = await page(app, "POST", url, step="authorize")
    back = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    assert (status, location.partition("?")[0]) == (303, REDIRECT)
    assert (back["state"], back["iss"]) == ("a-state", app.url)
    assert (await app.post("/oauth/token", app.redemption(back["code"])))[1]["sub"] == alice.did
    assert (await page(app, "GET", url))[0] == 400, "a request is answered once"


async def test_a_person_says_no(app: App, alice: Account) -> None:
    for signs_in in (False, True):
        url = await app.pushed()
        await page(app, "GET", url)
        if signs_in:
            await page(app, "POST", url, step="sign-in", identifier="alice.test", password=alice.password)
        _, _, location = await page(app, "POST", url, step="deny")
        assert parse_qs(urlsplit(location).query)["error"] == ["access_denied"]


async def test_a_request_belongs_to_the_browser_that_opened_it(app: App, alice: Account) -> None:
    url = await app.pushed()
    await page(app, "GET", url)
    app.http.cookie_jar.clear()
    assert (await page(app, "GET", url))[0] == 403
    assert (await page(app, "POST", url, step="deny"))[0] == 403
    assert (await page(app, "GET", url.replace("client_id=http", "client_id=https")))[0] == 400


async def test_other_sites_cannot_answer(app: App) -> None:
    url = await app.pushed()
    await page(app, "GET", url)
    fields = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    for origin in ({}, {"Origin": "http://127.0.0.1:1"}):
        async with app.http.post(url.partition("?")[0], data={**fields, "step": "deny"}, headers=origin) as answer:
            assert answer.status == 403


async def test_what_a_page_shows_of_a_client_is_text(app: App) -> None:
    async with app.http.get(await app.pushed(login_hint='"><script>alert(1)</script>')) as answer:
        assert "<script" not in await answer.text()
        policy = answer.headers["Content-Security-Policy"]
    assert "form-action 'self' http://127.0.0.1:8080;" in policy
    assert "script" not in policy


async def test_who_may_not_sign_in(app: App, alice: Account) -> None:
    for status, code in (("takendown", 401), ("deactivated", 200)):
        alice.status = status  # type: ignore[assignment]
        url = await app.pushed()
        await page(app, "GET", url)
        said = await page(app, "POST", url, step="sign-in", identifier="alice.test", password=alice.password)
        assert said[0] == code


# -- clients with a document

METADATA: dict[str, Any] = {
    "client_id": HOSTED,
    "client_name": "An <app>",
    "redirect_uris": ["https://app.example/callback"],
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
    "scope": "atproto",
    "dpop_bound_access_tokens": True,
    "token_endpoint_auth_method": "none",
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "https://app.example/other.json"},
        {"dpop_bound_access_tokens": False},
        {"response_types": ["token"]},
        {"grant_types": []},
        {"scope": "email"},
        {"redirect_uris": []},
        {"redirect_uris": ["http://app.example/callback"]},
        {"token_endpoint_auth_method": "client_secret_basic"},
    ],
)
async def test_a_document_that_does_not_do(wrong: dict[str, Any]) -> None:
    async def fetch(url: str) -> object:
        return METADATA | wrong if url == HOSTED else None

    with pytest.raises(OAuthError):
        await find_client(HOSTED, fetch)


async def test_a_client_with_a_key_proves_itself(app: App, alice: Account) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    jwks = {"keys": [{**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "one"}]}

    async def fetch(url: str) -> object:
        return METADATA | {"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks}

    alice.host.authorization.fetch = fetch

    def assertion(signing: ec.EllipticCurvePrivateKey = key, **claims: Any) -> str:
        said = {"iss": HOSTED, "sub": HOSTED, "aud": app.url, "jti": secrets.token_hex(8), "iat": int(time.time())}
        return jwt.encode({**said, **claims}, signing, "ES256", headers={"kid": "one"})

    async def pushed(**fields: str) -> int:
        form = {"client_id": HOSTED, "redirect_uri": METADATA["redirect_uris"][0], **fields}
        return (await app.post("/oauth/par", app.request(**form)))[0]

    kind = {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
    good = assertion()
    assert await pushed(**kind, client_assertion=good) == 201
    assert await pushed(**kind, client_assertion=good) == 400, "an assertion is good once"
    assert await pushed() == 400
    for spoilt in ({"aud": "https://other.example"}, {"iss": "https://other.example"}, {"iat": 1}, {"jti": ""}):
        assert await pushed(**kind, client_assertion=assertion(**spoilt)) == 400
    other = ec.generate_private_key(ec.SECP256R1())
    assert await pushed(**kind, client_assertion=assertion(other)) == 400
