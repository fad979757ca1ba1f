"""A gateway with a public https address, as operators deploy it: TLS in front, a confidential client at a real PDS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import pytest
from playwright.async_api import Browser, expect

from e2e.accounts import FOLLOW, LIKE, POST, new_account, shown_counts
from e2e.public_address import NAME, ORIGIN, PublicAddress, public_address, serving
from e2e.real_network import RealNetwork, real_servers
from e2e.running_stack import RunningStack, running_stack
from e2e.web import person, require_chromium, running_browser
from servers import scratch_directory

SESSION = "__Host-headwater-session"


@dataclass(frozen=True)
class Deployment:
    """The stack, where it is reached, and the network of its users."""

    stack: RunningStack
    address: PublicAddress
    servers: dict[str, str]


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    require_chromium()
    with (
        scratch_directory() as directory,
        public_address(directory) as address,
        real_servers(**address.node_variables) as servers,
        running_stack(
            servers["plc_url"],
            HANDLE_RESOLVER_URL=servers["pds_url"],
            GATEWAY_PORT=str(address.gateway_port),
            GATEWAY_PUBLIC_URL=ORIGIN,
            GATEWAY_PROXIES="127.0.0.1",
        ) as stack,
        serving(address),
    ):
        yield Deployment(stack, address, servers)


@pytest.fixture
async def network(deployment: Deployment) -> AsyncIterator[RealNetwork]:
    network = RealNetwork(**deployment.servers)
    yield network
    await network.close()


@pytest.fixture
async def browser(deployment: Deployment) -> AsyncIterator[Browser]:
    async with running_browser(*deployment.address.browser_flags) as browser:
        yield browser


async def test_a_confidential_client_from_login_to_logout(
    deployment: Deployment, network: RealNetwork, browser: Browser
) -> None:
    alice = await new_account(network, "alice-public.test", posts=600)
    async with person(browser, deployment.stack, url=ORIGIN) as somebody:
        page = somebody.page
        await page.goto(f"{ORIGIN}/user")
        await page.get_by_label("Your handle").fill(alice.handle)
        await page.get_by_role("button", name="Log in").click()
        await page.locator("input[type=password]").wait_for()
        assert page.url.startswith(network.pds_url), "the password is typed at the PDS, and nowhere else"
        await somebody.enter_password()
        await expect(page.locator("body")).to_contain_text(NAME)
        await page.get_by_role("button", name="Authorize").click()
        await page.wait_for_url(f"{ORIGIN}/user")
        await page.get_by_role("heading", name=alice.handle).wait_for()

        (session,) = [cookie for cookie in await somebody.context.cookies() if "headwater" in cookie["name"]]
        assert session["name"] == SESSION
        assert (session["secure"], session["httpOnly"], session["sameSite"], session["path"]) == (
            True,
            True,
            "Lax",
            "/",
        )
        assert session["domain"] == NAME, "no subdomain gets it"
        assert await page.evaluate("document.cookie") == ""

        await somebody.watch_bars()
        await somebody.choose("All time")
        await expect(page.locator(".notice.good")).to_contain_text("records of all time were written")
        assert len((await somebody.seen())["states"]) > 1, "events come through the proxy while it runs"
        listed = await network.list_records(alice.did)
        assert await shown_counts(somebody) == {
            name: sum(key[0] == name for key in listed) for name in (POST, LIKE, FOLLOW)
        }
        assert await somebody.violations() == []

        await page.get_by_role("button", name="Log out", exact=True).click()
        await expect(page.get_by_label("Your handle")).to_be_visible()
        await somebody.context.add_cookies([session])  # type: ignore[list-item]
        await page.goto(f"{ORIGIN}/user")
        await expect(page.get_by_label("Your handle")).to_be_visible()
    _asked_who_we_are(deployment.address)


def _asked_who_we_are(address: PublicAddress) -> None:
    """The PDS has fetched our metadata and our keys, which it does for a client that proves itself with one of them."""
    asked = {
        entry["request"]["uri"]: entry for entry in address.requests() if entry["request"]["uri"].endswith(".json")
    }
    assert asked.keys() >= {"/oauth/client-metadata.json", "/oauth/jwks.json"}
    assert {entry["status"] for entry in asked.values()} == {200}


async def test_a_client_with_another_key_is_refused(
    deployment: Deployment, network: RealNetwork, browser: Browser
) -> None:
    """The PDS holds our assertions against the keys that we publish: it is the key that proves us."""
    bob = await new_account(network, "bob-public.test", posts=1)
    key = deployment.stack.home / "oauth-client-key.pem"
    kept = key.read_bytes()
    async with person(browser, deployment.stack, url=ORIGIN) as somebody:
        try:
            key.unlink()
            deployment.stack.kill("api-gateway.0")
            await asyncio.to_thread(deployment.stack.wait_ready)
            assert key.read_bytes() != kept
            await somebody.page.goto(f"{ORIGIN}/user")
            await somebody.page.get_by_label("Your handle").fill(bob.handle)
            await somebody.page.get_by_role("button", name="Log in").click()
            await expect(somebody.page.locator(".notice.bad")).to_contain_text("did not accept the login")
        finally:
            key.write_bytes(kept)
            deployment.stack.kill("api-gateway.0")
            await asyncio.to_thread(deployment.stack.wait_ready)
        somebody.complaints.clear()  # the browser's own word for the 502
        await somebody.log_in(bob)


async def test_what_every_answer_says_to_browsers(deployment: Deployment) -> None:
    address = deployment.address
    async with httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{address.port}",
        headers={"Host": NAME},
        verify=address.trust(),
        trust_env=False,
    ) as client:
        for path in ("/user", "/oauth/client-metadata.json", "/oauth/jwks.json", "/api/user/stats", "/nowhere"):
            answer = await client.get(path, extensions={"sni_hostname": NAME})
            assert "max-age=31536000" in answer.headers["strict-transport-security"]
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "unsafe" not in answer.headers["content-security-policy"]
        keys = await client.get("/oauth/jwks.json", extensions={"sni_hostname": NAME})
        assert keys.headers["content-type"] == "application/json"
        assert {name for key in keys.json()["keys"] for name in key} == {"kty", "crv", "x", "y", "kid", "use", "alg"}
