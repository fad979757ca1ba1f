"""The panel in a real browser, with logins at a real PDS and its own pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from e2e.accounts import FOLLOW, LIKE, POST, new_account, shown_counts
from e2e.gateway_client import GatewayClient, open_gateway
from e2e.real_network import RealNetwork
from e2e.running_stack import RunningStack
from e2e.web import person
from waiting import until


@pytest.fixture
async def operator(real_stack: RunningStack) -> AsyncIterator[GatewayClient]:
    async with open_gateway(real_stack) as client:
        yield client


async def paused(operator: GatewayClient, switch: str) -> None:
    answer = await operator.http.post(
        f"/api/admin/repo-backfill/{switch}", headers={"Authorization": f"Bearer {operator.token}"}
    )
    assert answer.status_code == 204


async def test_a_history_arrives_before_ones_eyes(
    browser: Browser, real_stack: RunningStack, real_network: RealNetwork, images: Path
) -> None:
    alice = await new_account(real_network, "alice-panel.test", posts=3000)
    async with person(browser, real_stack, viewport={"width": 900, "height": 1000}) as somebody:
        page = somebody.page
        await page.goto(f"{somebody.url}/user")
        assert await somebody.violations() == []
        await page.screenshot(path=images / "login.png")
        await somebody.log_in(alice)
        await expect(page.locator("#stats")).to_contain_text("Nothing of yours is here yet")
        await somebody.watch_bars()
        await somebody.choose("All time")
        await expect(page.locator(".notice.good")).to_contain_text("records of all time were written")
        assert await page.locator(".brought li").all_inner_texts() == ["3,000 posts", "1,500 likes", "1 follows"]
        await expect(page.locator("#stats")).to_contain_text("last backfill")
        seen = await somebody.seen()
        assert len(seen["states"]) > 1, seen
        assert seen["written"] == sorted(seen["written"]), seen
        assert seen["written"][0] == 0 < seen["written"][-1], seen
        listed = await real_network.list_records(alice.did)
        by_collection = {name: sum(key[0] == name for key in listed) for name in (POST, LIKE, FOLLOW)}
        assert await shown_counts(somebody) == by_collection
        assert await somebody.violations() == []
        await page.screenshot(path=images / "panel.png")
        await page.emulate_media(color_scheme="dark")
        await page.screenshot(path=images / "panel-dark.png")
        await somebody.choose("7 days")
        await expect(page.locator(".notice.bad")).to_contain_text("a backfill not long ago")


async def test_a_backfill_is_cancelled_on_a_phone(
    browser: Browser, real_stack: RunningStack, real_network: RealNetwork, operator: GatewayClient, images: Path
) -> None:
    bob = await new_account(real_network, "bob-panel.test")
    async with person(browser, real_stack, viewport={"width": 360, "height": 740}, has_touch=True) as somebody:
        page = somebody.page
        await somebody.log_in(bob)
        began = real_stack.log_size
        await paused(operator, "pause")
        try:
            await until(lambda: "no new requests are taken" in real_stack.log(began))
            await somebody.choose("1 year")
            await expect(page.locator("[sse-swap=state]")).to_have_text("Waiting for its turn")
            assert await somebody.violations() == []
            await page.get_by_role("button", name="Cancel").tap()
            await expect(page.locator("#backfill .notice")).to_contain_text("Cancelled")
        finally:
            await paused(operator, "resume")
        assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert await somebody.violations() == []
        await page.screenshot(path=images / "phone.png")


async def test_a_failure_says_why_and_what_to_do(
    browser: Browser, real_stack: RunningStack, real_network: RealNetwork
) -> None:
    carol = await new_account(real_network, "carol-panel.test")
    async with person(browser, real_stack) as somebody:
        await somebody.log_in(carol)
        await real_network.deactivate(carol)
        await somebody.choose("30 days")
        await expect(somebody.page.locator(".notice.bad")).to_contain_text("Your account is deactivated")
        await expect(somebody.page.locator(".notice.bad")).to_contain_text("Activate the account in your app")
        assert await somebody.violations() == []
        await real_network.activate(carol)
        await somebody.choose("Other")
        await expect(somebody.page.locator(".notice.bad")).to_contain_text("enter 1 to 3650 days")
        await somebody.page.get_by_role("radio", name="Other").check()
        await somebody.page.get_by_label("Days, for Other").fill("3650")
        await somebody.page.get_by_role("button", name="Start backfill").click()
        await expect(somebody.page.locator(".notice.good")).to_contain_text("Done")


async def test_pages_for_anybody_keep_nobody_out(browser: Browser, real_stack: RunningStack) -> None:
    async with person(browser, real_stack, viewport={"width": 360, "height": 740}) as somebody:
        for path, heading in (("/user", "Your whole history"), ("/docs", "The API"), ("/user/nowhere", "Not Found")):
            await somebody.page.goto(f"{somebody.url}{path}")
            await expect(somebody.page.locator("h1")).to_contain_text(heading)
            assert await somebody.violations() == [], path
            assert await somebody.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path


async def test_the_keyboard_is_enough(browser: Browser, real_stack: RunningStack, real_network: RealNetwork) -> None:
    dan = await new_account(real_network, "dan-panel.test")
    async with person(browser, real_stack) as somebody:
        await somebody.log_in(dan)
        keyboard = somebody.page.keyboard
        await keyboard.press("Tab")
        await expect(somebody.page.get_by_text("Skip to the content")).to_be_focused()
        await keyboard.press("Enter")
        await keyboard.press("Tab")
        await expect(somebody.page.get_by_role("radio", name="30 days")).to_be_focused()
        await keyboard.press("ArrowRight")
        await keyboard.press("ArrowRight")
        await expect(somebody.page.get_by_role("radio", name="All time")).to_be_checked()
        await keyboard.press("Enter")
        await expect(somebody.page.locator(".notice.good")).to_contain_text("31 records")


async def test_without_scripts_it_works_too(
    browser: Browser, real_stack: RunningStack, real_network: RealNetwork
) -> None:
    eve = await new_account(real_network, "eve-panel.test")
    async with person(browser, real_stack) as scripted:
        await scripted.log_in(eve)
        cookies = await scripted.context.cookies()
    async with person(browser, real_stack, java_script_enabled=False) as somebody:
        await somebody.context.add_cookies([cookie for cookie in cookies if cookie["name"] == "headwater-session"])  # type: ignore[list-item]
        await somebody.page.goto(f"{somebody.url}/user")
        await somebody.choose("All time")
        await expect(somebody.page.locator(".notice.good")).to_contain_text("31 records")


async def test_logging_out_here_and_everywhere(
    browser: Browser, real_stack: RunningStack, real_network: RealNetwork
) -> None:
    fay = await new_account(real_network, "fay-panel.test")
    async with person(browser, real_stack) as here, person(browser, real_stack) as there:
        await here.log_in(fay)
        await there.log_in(fay)
        stolen = await here.context.cookies()
        assert all(
            cookie["httpOnly"] and cookie["sameSite"] == "Lax" for cookie in stolen if "headwater" in cookie["name"]
        )
        await here.page.get_by_role("button", name="Log out", exact=True).click()
        await expect(here.page.get_by_label("Your handle")).to_be_visible()
        await here.context.add_cookies(stolen)  # type: ignore[arg-type]
        await here.page.goto(f"{here.url}/user")
        await expect(here.page.get_by_label("Your handle")).to_be_visible()
        await here.log_in(fay)
        await there.page.reload()
        await expect(there.page.locator("main")).to_contain_text("2 browsers")
        await there.page.get_by_role("button", name="Log out everywhere").click()
        await expect(there.page.get_by_label("Your handle")).to_be_visible()
        await here.page.reload()
        await expect(here.page.get_by_label("Your handle")).to_be_visible()
