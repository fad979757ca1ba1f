"""A user's own records in a real browser: browsed, searched, shown, and taken along, against the PDS's own lists."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, expect

from e2e.accounts import LIKE, POST, new_account, shown_counts
from e2e.real_network import Account, RealNetwork
from e2e.running_stack import RunningStack
from e2e.web import Person, person

Listed = dict[tuple[str, str], tuple[str, Any]]


async def test_all_that_is_held_can_be_read_and_taken_along(
    browser: Browser, real_stack: RunningStack, real_network: RealNetwork, images: Path
) -> None:
    ida = await new_account(real_network, "ida-panel.test", posts=70)
    await real_network.create(
        ida, POST, {"$type": POST, "text": '=1+1, "quoted"\nand <b>bold</b> 🌊', "createdAt": "2020-02-29T23:59:59Z"}
    )
    listed = await real_network.list_records(ida.did)
    async with person(browser, real_stack, viewport={"width": 900, "height": 1000}) as somebody:
        await somebody.log_in(ida)
        await somebody.choose("All time")
        await expect(somebody.page.locator(".notice.good")).to_contain_text("Done")
        await _chart_and_counts(somebody, listed)
        await _browse(somebody, ida, listed, images)
        await _search(somebody, ida, listed)
        await _take_along(somebody, ida, listed)


async def _chart_and_counts(somebody: Person, listed: Listed) -> None:
    page = somebody.page
    await expect(page.locator("#stats")).to_contain_text("last backfill")
    assert sum((await shown_counts(somebody)).values()) == len(listed)
    months: dict[str, int] = {}
    for _, value in listed.values():
        months[value["createdAt"][:7]] = months.get(value["createdAt"][:7], 0) + 1
    await page.get_by_text("Records by month", exact=True).click()
    shown = [line.split(": ") for line in await page.locator(".monthly li").all_inner_texts()]
    # The chart reaches back 60 months at most; all but the one record of 2020 are within.
    assert shown[0][0] > "2020-02"
    del months["2020-02"]
    assert {month: int(count) for month, count in shown if count != "0"} == months
    assert await page.locator("#stats rect").count() == len(shown) == 60
    await expect(page.locator("#stats .figures")).to_contain_text("2020-02-29")


async def _browse(somebody: Person, account: Account, listed: Listed, images: Path) -> None:
    """Page by page by the links, newest first, until there is none; each as text, as JSON, and by its AT URI."""
    page = somebody.page
    await page.get_by_role("link", name=f"Posts {POST}").click()
    await page.get_by_role("heading", name="Newest first").wait_for()
    assert await somebody.violations() == []
    await page.screenshot(path=images / "records.png")
    seen: dict[str, Any] = {}
    times: list[str] = []
    while True:
        for article in await page.locator("article.record").all():
            uri = await article.locator("code").inner_text()
            await article.locator("summary").click()
            value = json.loads(await article.locator("pre").inner_text())
            assert await article.locator(".said").inner_text() == value["text"]
            seen[uri] = value
            times.append(value["createdAt"])
        older = page.get_by_role("link", name="Older records")
        if not await older.count():
            break
        await older.click()
    posts = {f"at://{account.did}/{c}/{rkey}": value for (c, rkey), (_, value) in listed.items() if c == POST}
    assert seen == posts
    assert len(times) == len(posts), "none came twice"
    assert times == sorted(times, reverse=True)


async def _search(somebody: Person, account: Account, listed: Listed) -> None:
    page = somebody.page
    await page.get_by_label("Collection").select_option(POST)
    await page.get_by_role("searchbox").fill("POST 6")
    await page.get_by_role("button", name="Show").click()
    await page.get_by_role("heading", name="Found, newest first").wait_for()
    texts = [value["text"] for (collection, _), (_, value) in listed.items() if collection == POST]
    assert sorted(await page.locator(".said").all_inner_texts()) == sorted(t for t in texts if "post 6" in t)
    await page.get_by_role("searchbox").fill("<b>bold</b>")
    await page.get_by_role("searchbox").press("Enter")
    await expect(page.locator(".said")).to_have_text(['=1+1, "quoted"\nand <b>bold</b> 🌊'])
    assert await page.locator(".said b").count() == 0, "records are text, never markup"
    await page.get_by_role("searchbox").fill("nobody ever wrote this")
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator("main")).to_contain_text("There are none.")


async def _take_along(somebody: Person, account: Account, listed: Listed) -> None:
    page = somebody.page
    likes = {key: value for key, value in listed.items() if key[0] == LIKE}
    await page.goto(f"{somebody.url}/user/records?collection={LIKE}")
    assert _of_lines(await _download(somebody, "JSON lines"), account) == likes
    await page.goto(f"{somebody.url}/user")
    assert _of_lines(await _download(somebody, "JSON lines"), account) == listed
    assert _of_table(await _download(somebody, "CSV")) == listed


async def _download(somebody: Person, link: str) -> str:
    async with somebody.page.expect_download() as coming:
        await somebody.page.get_by_role("link", name=link).click()
    download = await coming.value
    assert download.suggested_filename.startswith("headwater-did-plc-")
    return (await asyncio.to_thread((await download.path()).read_bytes)).decode()


def _of_lines(text: str, account: Account) -> Listed:
    found = {}
    for line in text.splitlines():
        item = json.loads(line)
        assert item["uri"] == f"at://{account.did}/{item['collection']}/{item['rkey']}"
        found[item["collection"], item["rkey"]] = (item["cid"], item["record"])
    return found


def _of_table(text: str) -> Listed:
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    return {(row["collection"], row["rkey"]): (row["cid"], json.loads(row["record"])) for row in rows}


async def test_records_fit_a_phone(browser: Browser, real_stack: RunningStack, real_network: RealNetwork) -> None:
    jan = await new_account(real_network, "jan-panel.test", posts=3)
    await real_network.create(jan, POST, {"$type": POST, "text": "w" * 290, "createdAt": "2026-01-01T00:00:00Z"})
    async with person(browser, real_stack, viewport={"width": 360, "height": 740}, has_touch=True) as somebody:
        await somebody.log_in(jan)
        await somebody.choose("All time")
        await expect(somebody.page.locator(".notice.good")).to_contain_text("Done")
        await somebody.page.goto(f"{somebody.url}/user/records?collection={POST}")
        for summary in await somebody.page.locator("article summary").all():
            await summary.tap()
        assert await somebody.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert await somebody.violations() == []
