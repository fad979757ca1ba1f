"""A real browser (Debian's Chromium, driven by Playwright), and what a person does in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from e2e.real_network import PASSWORD, Account
from e2e.running_stack import RunningStack

_CHROMIUM = "/usr/bin/chromium"
_FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
)
PATIENCE_MS = 30_000


def require_chromium() -> None:
    """Skip the calling test where there is no Chromium; in CI it is installed, and lacking it is a failure."""
    if os.environ.get("CI") or (os.access("/", os.W_OK) and shutil.which("apt-get")):
        subprocess.run([Path(__file__).parent / "browser" / "install.sh"], check=True, timeout=900)
    if not Path(_CHROMIUM).exists():
        pytest.skip("Chromium is not installed: the tests with a browser need it")


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_CHROMIUM, args=list(_FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


class Person:
    """Somebody with a browser profile of their own, at the panel of one stack."""

    def __init__(self, stack: RunningStack, context: BrowserContext, page: Page) -> None:
        self.url = stack.gateway_url
        self.context = context
        self.page = page
        #: What the browser itself complained about: refused by the CSP, a script that failed.
        self.complaints: list[str] = []
        page.on("console", lambda message: self._note(message.type, message.text, message.location["url"]))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, kind: str, text: str, where: str) -> None:
        # The PDS's pages are not ours to judge, and a 4xx that a page is meant to show is no complaint about it.
        if kind in ("error", "warning") and where.startswith(self.url) and "status of 4" not in text:
            self.complaints.append(text)

    async def log_in(self, account: Account) -> None:
        """From the panel to the PDS's own pages and back, as a person would."""
        await self.page.goto(f"{self.url}/user")
        await self.page.get_by_label("Your handle").fill(account.handle)
        await self.page.get_by_role("button", name="Log in").click()
        await self.consent()
        await self.page.wait_for_url(f"{self.url}/user")
        await self.page.get_by_role("heading", name=account.handle).wait_for()

    async def consent(self) -> None:
        """The PDS's own pages: the password, then yes."""
        password = self.page.locator("input[type=password]")
        await password.wait_for()
        await password.fill(PASSWORD)
        await password.press("Enter")
        await self.page.get_by_role("button", name="Authorize").click()

    async def choose(self, span: str) -> None:
        """Choose how far back, and start."""
        await self.page.get_by_role("radio", name=span).check()
        await self.page.get_by_role("button", name="Start backfill").click()

    async def notice(self) -> str:
        """What the page says has happened."""
        return await self.page.locator(".notice").inner_text()


@asynccontextmanager
async def person(browser: Browser, stack: RunningStack, **options: object) -> AsyncIterator[Person]:
    """A person with a fresh profile; ``options`` are Playwright's for a context. At the end nothing was complained."""
    context = await browser.new_context(**options)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    try:
        somebody = Person(stack, context, await context.new_page())
        yield somebody
        assert not somebody.complaints, somebody.complaints
    finally:
        await context.close()
