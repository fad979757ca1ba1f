"""The operator's page in a real browser, on a running stack: what it shows is so, and what its buttons do happens."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import cbor2
import pytest
from playwright.async_api import Browser, Page, expect

from e2e.gateway_client import GatewayClient, open_gateway
from e2e.running_stack import RunningStack, running_stack
from e2e.simulated import SimulatedPorts, SimulatedWorld
from e2e.web import Person, person
from simulator.faults import Answer

POST = "app.bsky.feed.post"
HOSTILE = "<img src=x onerror=alert(1)>"
DESKTOP = {"width": 1280, "height": 1000}
PHONE = {"width": 360, "height": 740}


@pytest.fixture
async def followed() -> AsyncIterator[tuple[RunningStack, SimulatedWorld]]:
    """A stack that follows a relay, and its network: what its accounts have written was before the live tail."""
    ports = SimulatedPorts.choose()
    async with SimulatedWorld(77, ports) as world, AsyncExitStack() as ends:
        alice, bob = world.add_account("alice.sim.test"), world.add_account("bob.sim.test", host=world.hosts[1])
        alice.seed_records(300)
        for rkey in ("bad", "worse", "worst"):
            alice.put_invalid(POST, rkey, bad_block())
        bob.fault(Answer(status=429, headers={"Retry-After": "900"}))
        running = running_stack(ports.plc_url, RELAY_URLS=world.relay.url, **ports.variables)
        stack = await asyncio.to_thread(running.__enter__)
        ends.push_async_exit(partial(asyncio.to_thread, running.__exit__))
        yield stack, world


@pytest.fixture
async def operator(followed: tuple[RunningStack, SimulatedWorld]) -> AsyncIterator[GatewayClient]:
    async with open_gateway(followed[0]) as client:
        yield client


async def log_in(somebody: Person, token: str) -> None:
    await somebody.page.goto(f"{somebody.url}/admin")
    await somebody.page.get_by_label("The operators' token").fill(token)
    await somebody.page.get_by_role("button", name="Log in").click()
    await somebody.page.get_by_role("heading", name="Overview").wait_for()


async def go(page: Page, name: str) -> None:
    """To one of the pages, by its tab."""
    await page.get_by_role("navigation", name="Operator").get_by_role("link", name=name).click()
    await page.get_by_role("heading", name=name, exact=True, level=1).wait_for()


async def look_at(somebody: Person, image: Path) -> None:
    """Nothing keeps people out, nothing sticks out, in light and in dark; and a picture of each."""
    page = somebody.page
    assert await somebody.violations() == [], image.name
    for scheme, suffix in (("light", ""), ("dark", "-dark")):
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), image.name
        await page.screenshot(path=image.with_name(f"{image.name}{suffix}.png"), full_page=True)
    await page.emulate_media(color_scheme="light")


def bad_block() -> bytes:
    """A record that no repo may hold, as it has a float; its text is hostile to pages."""
    return cbor2.dumps({"text": HOSTILE, "$type": POST, "score": 1.5}, canonical=True)


@pytest.mark.timeout(600)
async def test_the_whole_of_an_operators_day(
    browser: Browser,
    followed: tuple[RunningStack, SimulatedWorld],
    operator: GatewayClient,
    images: Path,
    tmp_path: Path,
) -> None:
    stack, world = followed
    async with person(browser, stack, viewport=DESKTOP) as somebody:
        page = somebody.page
        await page.goto(f"{somebody.url}/admin")
        assert await somebody.violations() == []
        await page.get_by_label("The operators' token").fill("not the token")
        await page.get_by_role("button", name="Log in").click()
        await expect(page.locator(".notice.bad")).to_contain_text("not the operators' token")
        await log_in(somebody, stack.token)
        await _services(page)
        await _backfills(page)
        await _letters(somebody, tmp_path)
        await _waiting_job(somebody, tmp_path)
        await _history(somebody, world, tmp_path)
        await _switch(page, operator)
        await go(page, "Overview")
        await expect(page.locator("#live")).to_contain_text("/s")
        await look_at(somebody, images / "admin")
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_label("The operators' token")).to_be_visible()
        await page.goto(f"{somebody.url}/admin/jobs")
        await expect(page.get_by_label("The operators' token")).to_be_visible()
    (images / "admin-dark.png").unlink()


async def _services(page: Page) -> None:
    await expect(page.locator(".notice.good")).to_contain_text("Everything is ready")
    for service in ("api-gateway", "firehose-backfill", "indexer", "repo-backfill"):
        await expect(page.get_by_role("row", name=re.compile(f"^{service} "))).to_contain_text("ready")


async def _backfills(page: Page) -> None:
    """One account that has a bad record, one whose host wants to be left alone, one that is not there."""
    await page.get_by_label("Handle or DID").fill("nobody.sim.test")
    await page.get_by_role("button", name="Backfill", exact=True).click()
    await expect(page.locator(".notice.bad")).to_be_visible()
    await expect(page.get_by_label("Handle or DID")).to_have_value("nobody.sim.test")
    await page.get_by_label("Handle or DID").fill("alice.sim.test")
    await page.get_by_role("button", name="Backfill", exact=True).click()
    await expect(page.locator("#live h2").first).to_contain_text("Done")
    await expect(page.locator("#live")).to_contain_text("Refused: record_float")
    await go(page, "Overview")
    await page.get_by_label("Handle or DID").fill("bob.sim.test")
    await page.get_by_role("button", name="Backfill", exact=True).click()
    await expect(page.locator("#live h2").first).to_contain_text("Waiting to try again")


async def _letters(somebody: Person, tmp_path: Path) -> None:
    page = somebody.page
    await go(page, "Dead letters")
    await look_at(somebody, tmp_path / "letters")
    letters = page.get_by_role("row").filter(has_text="did:")
    await expect(letters).to_have_count(3)
    await letters.first.get_by_role("link").click()
    await expect(page.locator("main")).to_contain_text(HOSTILE)
    await expect(page.locator("main")).to_contain_text('"score": 1.5')
    await expect(page.locator("pre.hex")).to_contain_text("000000")
    await look_at(somebody, tmp_path / "letter")
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Take the bytes along").click()
    file = tmp_path / "letter.bin"
    await (await download.value).save_as(file)
    assert file.read_bytes() == bad_block()
    await page.get_by_role("button", name="Fetch the repo anew").click()
    await expect(page.locator(".notice.good")).to_contain_text("fetched anew")
    await expect(page.locator("#live h2").first).to_contain_text("Done")
    await expect(page.locator("#live")).to_contain_text("lane resync")
    # The records are as bad as before, so they are refused again: one letter went, and three came.
    await go(page, "Dead letters")
    await expect(letters).to_have_count(5)
    await letters.first.get_by_role("link").click()
    await page.get_by_role("button", name="Drop").click()
    await expect(page.locator(".notice.good")).to_contain_text("The letter is dropped")
    await expect(letters).to_have_count(4)
    await page.get_by_role("link", name="record_float").click()
    await page.get_by_text("Drop all").click()
    await page.get_by_role("button", name="Drop 4 record_float").click()
    await expect(letters).to_have_count(4)  # the browser asks for the confirmation first
    await page.get_by_label("They cannot be got back").check()
    await page.get_by_role("button", name="Drop 4 record_float").click()
    await expect(page.locator(".notice.good")).to_contain_text("The letters are dropped")
    await expect(page.locator("main")).to_contain_text("There are none")


async def _waiting_job(somebody: Person, tmp_path: Path) -> None:
    page = somebody.page
    await go(page, "Hosts")
    row = page.get_by_role("row").filter(has_text="paused")
    await expect(row).to_contain_text("retry after")
    await expect(row).to_contain_text("status 429")
    await look_at(somebody, tmp_path / "hosts")
    await go(page, "Jobs")
    await look_at(somebody, tmp_path / "jobs")
    await page.get_by_role("button", name="Cancel the job of bob.sim.test").click()
    await expect(page.locator("#live h2").first).to_contain_text("Cancelled")
    await expect(page.locator("#part-cancel")).to_contain_text("requested_at_us")
    await look_at(somebody, tmp_path / "job")
    await go(page, "Jobs")
    await page.get_by_label("State").select_option("cancelled")
    await page.get_by_role("button", name="Show").click()
    await page.get_by_role("button", name="Retry the job of bob.sim.test").click()
    await expect(page.locator(".notice.good")).to_contain_text("asked for again")
    await page.locator("#live").get_by_role("button", name="Cancel").click()
    await expect(page.locator("#live h2").first).to_contain_text("Cancelled")


async def _history(somebody: Person, world: SimulatedWorld, tmp_path: Path) -> None:
    page = somebody.page
    await go(page, "Firehose")
    await expect(page.locator("#live")).to_contain_text("none, live only")
    await expect(page.get_by_role("row").filter(has_text=world.relay.url.removeprefix("http://"))).to_contain_text(
        "connected"
    )
    await page.get_by_role("button", name="Pause the history").click()
    await expect(page.locator(".notice.good")).to_contain_text("rest")
    await page.get_by_label("Begin again with so many days").fill("7")
    await page.get_by_role("button", name="Begin again").click()
    await expect(page.locator(".notice.good")).to_contain_text("begins again")
    # One host wants to be left alone, so its account's request waits.
    await expect(page.locator("#history-title")).to_contain_text("running")
    await expect(page.locator("#live")).to_contain_text("1 of 2 requests")
    await expect(page.locator("#live")).to_contain_text("by the operator")
    await page.get_by_role("button", name="Pause the history").click()
    await page.get_by_role("button", name="Resume the history").click()
    await expect(page.locator(".notice.good")).to_contain_text("goes on")
    await look_at(somebody, tmp_path / "firehose")


async def _switch(page: Page, operator: GatewayClient) -> None:
    await go(page, "Overview")
    await page.get_by_role("button", name="Pause repo-backfill").click()
    await expect(page.locator("#live")).to_contain_text("repo-backfill is paused")
    assert (await operator.status())["repo_backfill"] == {"paused": True}
    await page.get_by_role("button", name="Resume repo-backfill").click()
    await expect(page.locator(".notice.good").first).to_contain_text("takes requests again")
    assert (await operator.status())["repo_backfill"] == {"paused": False}


async def test_the_keyboard_a_phone_and_no_scripts_are_enough(
    browser: Browser, stack: RunningStack, world: SimulatedWorld, gateway: GatewayClient, tmp_path: Path
) -> None:
    account = world.add_account("carol.sim.test")
    account.seed_records(20)
    account.put_invalid(POST, "bad", bad_block())
    await gateway.done(account.did)
    async with person(browser, stack, viewport=PHONE, has_touch=True) as somebody:
        page = somebody.page
        await page.goto(f"{somebody.url}/admin")
        await page.keyboard.press("Tab")
        await expect(page.get_by_text("Skip to the content")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await page.keyboard.type(stack.token)
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="Overview").wait_for()
        await look_at(somebody, tmp_path / "phone")
        for name in ("Jobs", "Hosts", "Firehose", "Dead letters"):
            await go(page, name)
            await look_at(somebody, tmp_path / f"phone-{name}")
        await page.get_by_role("row").filter(has_text=account.did).get_by_role("link").first.tap()
        await page.get_by_role("heading", name="Its bytes").wait_for()
        await look_at(somebody, tmp_path / "phone-letter")
        cookies = await somebody.context.cookies()
        assert all(cookie["httpOnly"] and cookie["sameSite"] == "Strict" for cookie in cookies)
    async with person(browser, stack, java_script_enabled=False) as somebody:
        page = somebody.page
        await somebody.context.add_cookies(cookies)  # type: ignore[arg-type]
        await page.goto(f"{somebody.url}/admin/dead-letters")
        await page.get_by_role("row").filter(has_text=account.did).get_by_role("link").first.click()
        await page.get_by_role("button", name="Fetch the repo anew").click()
        await expect(page.locator(".notice.good")).to_contain_text("fetched anew")
        await go(page, "Overview")
        await page.get_by_label("Handle or DID").fill(account.did)
        await page.get_by_role("button", name="Backfill", exact=True).click()
        await expect(page.locator(".notice.good")).to_contain_text("queued")
