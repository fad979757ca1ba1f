"""Browsers behind a proxy, a week after their login, and while an account's records are still being counted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from api_gateway.auth.cookies import session_cookie
from api_gateway.auth.login_limits import PER_ADDRESS
from api_gateway.auth.sessions import begin_session
from api_gateway.bus import Bus
from api_gateway.settings import GatewaySettings
from gateway_harness import Bystander, RunningGateway, running_gateway
from headwater.bus.streams import BUCKET_SESSIONS
from headwater.service import nats_broker

ALICE = "did:plc:" + "a" * 24
NO_PLC = "http://127.0.0.1:1"
PAGE = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def browser(nats_url: str, gateway: RunningGateway, bus: Bystander) -> AsyncIterator[httpx.AsyncClient]:
    """One that has logged in as Alice."""
    own = Bus(nats_broker(GatewaySettings(_env_file=None, nats_url=nats_url), "test"))
    await own.connect()
    cookies = {session_cookie(secure=False): await begin_session(own, ALICE, "alice.test")}
    await own.close()
    async with httpx.AsyncClient(base_url=gateway.client.base_url, cookies=cookies, headers=PAGE, timeout=60) as client:
        yield client


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        ("127.0.0.0/8", "{n}.0.0.1", {422}),
        ("127.0.0.0/8", "{n}.0.0.1, 9.9.9.9", {422, 429}),
        ("", "{n}.0.0.1", {422, 429}),
    ],
)
async def test_only_a_proxy_of_ours_says_who_asks(
    nats_url: str, tmp_path: Path, proxies: str, forwarded: str, expected: set[int]
) -> None:
    """Behind a proxy each browser has a limit of its own, and nobody gets another by a header of theirs."""
    async with running_gateway(nats_url, NO_PLC, tmp_path, gateway_proxies=proxies) as gateway:
        statuses = set()
        for n in range(1, PER_ADDRESS[0] + 3):
            headers = PAGE | {"X-Forwarded-For": forwarded.format(n=n)}
            answer = await gateway.client.post("/oauth/login", data={"actor": f"not a handle {n}"}, headers=headers)
            statuses.add(answer.status_code)
    assert statuses == expected


async def test_a_cookie_of_last_week_opens_nothing(browser: httpx.AsyncClient, bus: Bystander) -> None:
    """Whatever the bucket still holds: a session ends seven days after its login."""
    assert "alice.test" in (await browser.get("/user")).text
    bucket = await bus.js.key_value(BUCKET_SESSIONS)
    (key,) = await bucket.keys()
    kept = json.loads((await bucket.get(key)).value or b"")
    await bucket.put(key, json.dumps(kept | {"began_at_us": kept["began_at_us"] - 8 * 86_400_000_000}).encode())
    shown = await browser.get("/user")
    assert (shown.status_code, "Your handle" in shown.text, "alice.test" in shown.text) == (200, True, False)
    assert (await browser.get("/api/user/settings", headers={"Accept": "*/*"})).status_code == 401
    refused = await browser.post("/user/backfill", data={"days": "7"})
    assert (refused.status_code, "not any more" in refused.text) == (401, True)
    assert await bus.queued(ALICE) is None


async def test_what_is_still_being_counted_is_asked_for_again(browser: httpx.AsyncClient, bus: Bystander) -> None:
    bus.counting = True
    answer = await browser.get("/api/user/stats", headers={"Accept": "*/*"})
    assert (answer.status_code, answer.json()["reason"]) == (503, "counting")
    assert int(answer.headers["retry-after"]) > 0
    shown = (await browser.get("/user")).text
    assert "Your records are being counted" in shown
    assert 'hx-get="/user/cards/stats" hx-trigger="load delay' in shown
    bus.counting = False
    card = (await browser.get("/user/cards/stats")).text
    assert "app.bsky.feed.post" in card
    assert "load delay" not in card
