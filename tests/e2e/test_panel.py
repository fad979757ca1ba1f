"""The panel in a real browser, with a login at a real PDS and its own pages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, expect

from e2e.real_network import Account, RealNetwork
from e2e.running_stack import RunningStack
from e2e.web import person, require_chromium, running_browser

POST, LIKE = "app.bsky.feed.post", "app.bsky.feed.like"
NOW = "2026-01-01T00:00:00.000Z"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    require_chromium()
    async with running_browser() as browser:
        yield browser


async def account_with_posts(network: RealNetwork, handle: str, posts: int) -> Account:
    account = await network.create_account(handle)
    value = {"$type": POST, "text": "hello", "createdAt": NOW}
    write = {"$type": "com.atproto.repo.applyWrites#create", "collection": POST, "value": value}
    for start in range(0, posts, 200):
        await network.apply_writes(account, [write] * min(200, posts - start))
    return account


async def test_log_in_and_watch_a_backfill(browser: Browser, real_stack: RunningStack, real_network: RealNetwork):
    alice = await account_with_posts(real_network, "alice-panel.test", 400)
    async with person(browser, real_stack) as somebody:
        await somebody.log_in(alice)
        await expect(somebody.page.locator("#stats")).to_contain_text("Nothing of yours is here yet")
        await somebody.choose("All time")
        await expect(somebody.page.locator(".notice.good")).to_contain_text("400 records")
        await expect(somebody.page.locator("#stats")).to_contain_text("400")
