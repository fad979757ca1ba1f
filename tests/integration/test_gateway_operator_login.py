"""Operators in a browser: who gets in, for how long, and what their cookie opens."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from api_gateway.auth import login_limits
from api_gateway.auth.operator import FILE_NAME
from api_gateway.auth.operator_sessions import SESSION_SECONDS, OperatorSession
from api_gateway.auth.pending_logins import digest
from api_gateway.auth.sessions import begin_session
from api_gateway.bus import Bus
from gateway_harness import PROBLEM, Bystander, RunningGateway, running_gateway
from headwater.bus.streams import BUCKET_OPERATORS
from headwater.service import nats_broker
from headwater.settings import ServiceSettings

OWN = {"Sec-Fetch-Site": "same-origin"}
HTML = {"Accept": "text/html"}
COOKIE = "headwater-operator"
PAGES = (
    "/admin/jobs",
    "/admin/jobs/1",
    "/admin/hosts",
    "/admin/firehose",
    "/admin/dead-letters",
    "/admin/dead-letters/1",
)
BUTTONS = (
    "/admin/backfill",
    "/admin/repo-backfill/pause",
    "/admin/repo-backfill/resume",
    "/admin/jobs/1/cancel",
    "/admin/jobs/1/retry",
    "/admin/firehose/backfill",
    "/admin/firehose/pause",
    "/admin/firehose/resume",
    "/admin/dead-letters/drop",
    "/admin/dead-letters/1/retry",
    "/admin/dead-letters/1/drop",
)
CHANGES = (
    ("POST", "/api/admin/repo-backfill/pause"),
    ("POST", "/api/admin/dead-letters/1/retry"),
    ("DELETE", "/api/admin/dead-letters/1"),
    ("DELETE", "/api/admin/dead-letters?kind=record&reason=record_float&up_to=1"),
    ("POST", "/api/admin/firehose/pause"),
)


def token(gateway: RunningGateway) -> str:
    return (gateway.home / FILE_NAME).read_text().strip()


async def log_in(gateway: RunningGateway, said: str | None = None, headers: dict[str, str] = OWN) -> httpx.Response:
    form = {"token": token(gateway) if said is None else said}
    return await gateway.client.post("/admin/login", data=form, headers=headers)


async def test_the_token_opens_every_page_until_logout(gateway: RunningGateway, bus: Bystander) -> None:
    asked = await gateway.client.get("/admin")
    assert (asked.status_code, "Operator login" in asked.text) == (200, True)
    assert "script-src 'self'" in asked.headers["content-security-policy"]
    answer = await log_in(gateway)
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin")
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"):
        assert part in cookie
    secret = gateway.client.cookies[COOKIE]
    assert secret not in token(gateway)
    stored = await (await bus.js.key_value(BUCKET_OPERATORS)).get(digest(secret))
    assert token(gateway).encode() not in (stored.value or b"")
    assert "Overview" in (await gateway.client.get("/admin")).text
    for path in PAGES:
        assert (await gateway.client.get(path, headers=HTML)).status_code == (404 if path.endswith("/1") else 200), path
    assert (await gateway.client.get("/api/admin/status")).status_code == 200
    gone = await gateway.client.post("/admin/logout", headers=OWN)
    assert gone.status_code == 303
    gateway.client.cookies.set(COOKIE, secret)
    assert "Operator login" in (await gateway.client.get("/admin")).text
    assert (await gateway.client.get("/api/admin/status")).status_code == 401


async def test_without_a_session_nothing_opens(gateway: RunningGateway) -> None:
    for path in PAGES:
        page = await gateway.client.get(path, headers=HTML)
        assert (page.status_code, "Operator login" in page.text) == (401, True), path
        assert page.headers["hx-redirect"] == "/admin"
        assert (await gateway.client.get(path)).headers["content-type"] == PROBLEM
    for path in BUTTONS:
        assert (await gateway.client.post(path, headers=OWN)).status_code == 401, path
    for method, path in (*CHANGES, ("GET", "/api/admin/hosts"), ("GET", "/api/admin/dead-letters")):
        assert (await gateway.client.request(method, path, headers=OWN)).status_code == 401, path


@pytest.mark.parametrize("said", ["", "wrong", "x" * 43, "\N{SNOWMAN}", "\ud800".encode("utf-8", "surrogatepass")])
async def test_another_token_does_not(gateway: RunningGateway, said: str | bytes) -> None:
    answer = await gateway.client.post("/admin/login", data={"token": said}, headers=OWN)
    assert answer.status_code == 401
    assert "not the operators" in answer.text
    assert "set-cookie" not in answer.headers
    wrong = {"Authorization": "Bearer wrong"}
    await log_in(gateway)
    assert (await gateway.client.get("/api/admin/status", headers=wrong)).status_code == 401, "nor beside a session"


async def test_a_body_that_is_no_form_or_too_large_is_refused(gateway: RunningGateway) -> None:
    for body in (b"\xff\xfe", b"a=1&" * 50, b"token=" + b"x" * 20_000):
        answer = await gateway.client.post("/admin/login", content=body, headers=OWN)
        assert answer.status_code == 422, body[:10]


async def test_guesses_are_limited(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    burst, _ = login_limits.TOKENS_PER_ADDRESS
    for _ in range(burst):
        assert (await log_in(gateway, "wrong")).status_code == 401
    refused = await log_in(gateway)
    assert refused.status_code == 429, "also with the right one"
    assert int(refused.headers["retry-after"]) > 0
    assert (await gateway.client.get("/api/admin/status", headers=gateway.operator)).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.test"}]
)
async def test_other_sites_can_change_nothing(gateway: RunningGateway, headers: dict[str, str]) -> None:
    assert (await log_in(gateway, headers=headers)).status_code == 403
    await log_in(gateway)
    for path in (*BUTTONS, "/admin/logout"):
        assert (await gateway.client.post(path, headers=headers)).status_code == 403, path
    for method, path in CHANGES:
        answer = await gateway.client.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (403, "cross_site"), path
    assert (await gateway.client.get("/api/admin/status")).json()["repo_backfill"] == {"paused": False}
    bearer = await gateway.client.post("/api/admin/repo-backfill/pause", headers={**headers, **gateway.operator})
    assert bearer.status_code == 204, "a token is no cookie: nobody sends it unasked"


async def test_users_and_operators_are_never_taken_for_each_other(gateway: RunningGateway, nats_url: str) -> None:
    connection = Bus(nats_broker(ServiceSettings(_env_file=None, nats_url=nats_url), "test"))
    await connection.connect()
    try:
        users = await begin_session(connection, "did:plc:ewvi7nxzyoun6zhxrhs64oiz", None)
    finally:
        await connection.close()
    for name in (COOKIE, "headwater-session"):
        gateway.client.cookies.set(name, users)
    assert "Operator login" in (await gateway.client.get("/admin")).text
    assert (await gateway.client.get("/api/admin/status")).status_code == 401
    gateway.client.cookies.clear()
    await log_in(gateway)
    gateway.client.cookies.set("headwater-session", gateway.client.cookies[COOKIE])
    assert "Your handle" in (await gateway.client.get("/user")).text
    assert (await gateway.client.get("/api/user/backfill")).status_code == 401


async def test_a_session_ends_with_its_time_and_with_its_token(
    gateway: RunningGateway, bus: Bystander, nats_url: str, tmp_path: Path
) -> None:
    await log_in(gateway)
    secret = gateway.client.cookies[COOKIE]
    bucket = await bus.js.key_value(BUCKET_OPERATORS)
    key = digest(secret)
    value = (await bucket.get(key)).value or b""
    other = tmp_path / "other"
    async with running_gateway(nats_url, "http://127.0.0.1:1", other) as elsewhere:
        elsewhere.client.cookies.set(COOKIE, secret)
        assert "Operator login" in (await elsewhere.client.get("/admin")).text, "another token's session"
    began = OperatorSession.model_validate_json(value)
    old = began.model_copy(update={"began_at_us": began.began_at_us - SESSION_SECONDS * 1_000_000})
    await bucket.put(key, old.model_dump_json().encode())
    assert "Operator login" in (await gateway.client.get("/admin")).text
    await bucket.put(key, value)
    assert "Overview" in (await gateway.client.get("/admin")).text
    gateway.client.cookies.set(COOKIE, "x" * 43)
    assert "Operator login" in (await gateway.client.get("/admin")).text
