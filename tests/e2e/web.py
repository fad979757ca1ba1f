"""A real browser (Debian's Chromium, driven by Playwright), and what a person does in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from e2e.real_network import PASSWORD

HERE = Path(__file__).parent / "browser"
_AXE = HERE / "node_modules/axe-core/axe.min.js"
_SERIOUS = ("serious", "critical")
_CHROMIUM = "/usr/bin/chromium"
_FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
)
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


def require_chromium() -> None:
    """Skip the calling test where Chromium or npm is missing; in CI that is a failure, never a skip."""
    if not os.environ.get("CI"):
        if not Path(_CHROMIUM).exists():
            pytest.skip(f"{_CHROMIUM} is missing: the tests with a browser need Debian's package, chromium")
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed: the tests with a browser need it")
    subprocess.run([HERE / "install.sh"], check=True, timeout=900)


@asynccontextmanager
async def running_browser(*flags: str) -> AsyncIterator[Browser]:
    """A headless Chromium, with further ``flags``."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=_CHROMIUM, args=[*_FLAGS, *flags], timeout=2 * PATIENCE_MS
        )
        try:
            yield browser
        finally:
            await browser.close()


class HasGateway(Protocol):
    """A stack, as far as a browser sees it."""

    gateway_url: str


class HasHandle(Protocol):
    """An account, as far as its owner types it."""

    @property
    def handle(self) -> str: ...


class Person:
    """Somebody with a browser profile of their own, at the panel of the gateway at ``url``."""

    def __init__(self, url: str, context: BrowserContext, page: Page) -> None:
        self.url = url
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

    async def log_in(self, account: HasHandle, password: str = PASSWORD) -> None:
        """From the panel to the PDS's own pages and back, as a person would."""
        await self.page.goto(f"{self.url}/user")
        await self.page.get_by_label("Your handle").fill(account.handle)
        await self.page.get_by_role("button", name="Log in").click()
        await self.consent(password)
        await self.page.wait_for_url(f"{self.url}/user")
        await self.page.get_by_role("heading", name=account.handle).wait_for()

    async def consent(self, password: str = PASSWORD) -> None:
        """The PDS's own pages: the password, then yes."""
        await self.enter_password(password)
        await self.page.get_by_role("button", name="Authorize").click()

    async def enter_password(self, password: str = PASSWORD) -> None:
        """The first of the PDS's own pages."""
        field = self.page.locator("input[type=password]")
        await field.wait_for()
        await field.fill(password)
        await field.press("Enter")

    async def choose(self, span: str) -> None:
        """Choose how far back, and start."""
        await self.page.get_by_role("radio", name=span).check()
        await self.page.get_by_role("button", name="Start backfill").click()

    async def violations(self) -> list[str]:
        """What axe-core finds on the page that keeps people out, in dark and in light."""
        await self.page.evaluate(_AXE.read_text())
        return [*await self._violations("dark"), *await self._violations("light")]

    async def _violations(self, scheme: Literal["dark", "light"]) -> list[str]:
        await self.page.emulate_media(color_scheme=scheme)
        found = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert found["passes"], "axe-core has looked at nothing"
        return [
            f"{scheme}: {one['id']}: {one['nodes'][0]['html'][:200]}"
            for one in found["violations"]
            if one["impact"] in _SERIOUS
        ]

    async def watch_bars(self) -> None:
        """Note from now on every state and every written percentage that the page shows."""
        await self.page.evaluate(
            """() => {
              window.seen = {states: [], written: []};
              const note = (list, value) => { if (value !== undefined && list.at(-1) !== value) list.push(value); };
              new MutationObserver(() => {
                note(window.seen.states, document.querySelector('[sse-swap=state]')?.innerText);
                note(window.seen.written, document.querySelector('progress[aria-label=Written]')?.value);
              }).observe(document.body, {subtree: true, childList: true, characterData: true});
            }"""
        )

    async def seen(self) -> dict[str, list[Any]]:
        """What ``watch_bars`` has noted: ``states`` and ``written``."""
        found: dict[str, list[Any]] = await self.page.evaluate("window.seen")
        return found

    async def notice(self) -> str:
        """What the page says has happened."""
        return await self.page.locator(".notice").inner_text()


@asynccontextmanager
async def person(
    browser: Browser, stack: HasGateway, *, url: str | None = None, **options: object
) -> AsyncIterator[Person]:
    """A person with a fresh profile, at ``url`` where the stack has a public one; ``options`` are a context's.

    At the end nothing was complained about.
    """
    context = await browser.new_context(**options)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    try:
        somebody = Person(url or stack.gateway_url, context, await context.new_page())
        yield somebody
        assert not somebody.complaints, somebody.complaints
    finally:
        await context.close()
