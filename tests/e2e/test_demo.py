"""``make demo`` as a newcomer sees it: what it tells, what it offers to try, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.async_api import Browser, expect

from e2e.accounts import shown_counts
from e2e.command import run
from e2e.web import person
from servers import scratch_directory

ROOT = Path(__file__).parents[2]
RECORDS = 300
_PATIENCE_SECONDS = 200.0


class Demo:
    """A demo that has come to its end and stays up, as its output tells of it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._until(lambda: "Ctrl-C ends all of it" in self.text)
        self.gateway_url = self.told(r"^your own data +(\S+)/user$")
        self.handle = self.told(r"handle +(\S+)$")
        self.password = self.told(r"password +(\S+)$")
        self.home = Path(self.told(r"export HEADWATER_HOME=(\S+)$"))

    @property
    def text(self) -> str:
        return self._log.read_text()

    def told(self, pattern: str) -> str:
        found = re.search(pattern, self.text, re.MULTILINE)
        assert found is not None, f"{pattern} is not in:\n{self.text}"
        return found[1]

    async def query(self, statement: str) -> str:
        """What psql says, by the command that the demo names."""
        finished = await run(self.home, "db", "psql", "-At", "-c", statement)
        assert finished.code == 0, finished.err
        return finished.out.strip()

    def end(self) -> None:
        """Ctrl-C: an orderly end, and nothing is left."""
        children = psutil.Process(self._process.pid).children(recursive=True)
        assert len(children) > 6, "the network, the runner, four services and two servers"
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(_PATIENCE_SECONDS) == 0, self.text
        _, left = psutil.wait_procs(children, timeout=20)
        assert not left, f"left behind: {left}"
        assert not self.home.exists()

    def _until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not holds():
            assert self._process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.1)


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """The one demo of this module; its end is checked."""
    sizes = ["--accounts", "2", "--records", str(RECORDS), "--keep"]
    command = [sys.executable, str(ROOT / "deploy/demo.py"), *sizes]
    with scratch_directory() as directory:
        log = directory / "demo.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=directory, env={**os.environ, "COLUMNS": "120"}
            )
        try:
            running = Demo(process, log)
            yield running
            running.end()
        finally:
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(30)


async def test_the_story_is_told_and_true(demo: Demo) -> None:
    written = [int(number) for number in re.findall(r"(\d+) records written", demo.text)]
    assert written == [RECORDS, RECORDS]
    assert len(re.findall(r"^done: ", demo.text, re.MULTILINE)) == 2 + 3
    assert re.search(r"replay +│ done", demo.text), "headwater status shows the history"
    assert "1 closed lately" in demo.text, "a gap was made and closed"
    rows = re.findall(r"^│ \S+\.\S+ +│ +([\d,]+) │", demo.text, re.MULTILINE)
    told = [int(number.replace(",", "")) for number in rows]
    assert sum(told) >= 2 * RECORDS + 2 * 20 + 10 + 5 + 1
    count = "SELECT count(*) FROM record"
    assert int(await demo.query(count)) >= sum(told)
    assert await demo.query("SELECT count(*) FROM record WHERE record ->> 'text' = 'told to nobody'") == "5"
    async with asyncio.timeout(60):  # somebody posts every few seconds
        while int(await demo.query(count)) == sum(told):
            await asyncio.sleep(1)


async def test_a_newcomer_logs_in_and_gets_their_history(demo: Demo, browser: Browser) -> None:
    async with person(browser, demo) as newcomer:
        page = newcomer.page
        await page.goto(f"{demo.gateway_url}/user")
        await page.get_by_label("Your handle").fill(demo.handle)
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_label("Password").wait_for()
        pds = re.sub(r"/oauth/.*", "", page.url)
        assert await newcomer.violations() == []
        await page.get_by_label("Password").fill("a guess")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("Wrong handle or password")
        await newcomer.consent(demo.password)
        await page.wait_for_url(f"{demo.gateway_url}/user")
        await expect(page.locator("#stats")).to_contain_text("Nothing of yours is here yet")
        await newcomer.choose("All time")
        await expect(page.locator(".notice.good")).to_contain_text(f"{RECORDS} records of all time were written")
        async with asyncio.timeout(60):  # the newcomer may write something meanwhile, too
            while (shown := await shown_counts(newcomer)) != (held := await held_counts(pds, demo.handle)):
                await asyncio.sleep(0.5)
                await page.reload()
        assert sum(shown.values()) == sum(held.values()) >= RECORDS


async def test_an_operator_logs_in_with_the_token_that_the_demo_names(demo: Demo, browser: Browser) -> None:
    token = Path(demo.told(r"token in +(\S+)$"))
    assert await asyncio.to_thread(lambda: token.stat().st_mode & 0o777) == 0o600
    async with person(browser, demo) as operator:
        await operator.page.goto(demo.told(r"^operators +(\S+)$"))
        await operator.page.get_by_label("The operators' token").fill(
            (await asyncio.to_thread(token.read_text)).strip()
        )
        await operator.page.get_by_role("button", name="Log in").click()
        await operator.page.get_by_role("heading", name="Overview").wait_for()


async def test_who_says_no_at_the_simulated_pds_is_not_logged_in(demo: Demo, browser: Browser) -> None:
    async with person(browser, demo) as newcomer:
        page = newcomer.page
        await page.goto(f"{demo.gateway_url}/user")
        await page.get_by_label("Your handle").fill(demo.handle)
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_label("Password").fill(demo.password)
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Authorize").wait_for()
        assert await newcomer.violations() == []
        await page.get_by_role("button", name="Deny").click()
        await expect(page.locator("main")).to_contain_text("did not allow the login")


async def held_counts(pds: str, handle: str) -> dict[str, int]:
    """What the PDS lists, by collection."""
    counts: Counter[str] = Counter()
    async with httpx.AsyncClient(base_url=f"{pds}/xrpc/", timeout=30) as http:
        described = (await http.get("com.atproto.repo.describeRepo", params={"repo": handle})).json()
        for collection in described["collections"]:
            asked = {"repo": handle, "collection": collection, "limit": "100"}
            while page := (await http.get("com.atproto.repo.listRecords", params=asked)).json():
                counts[collection] += len(page["records"])
                if "cursor" not in page:
                    break
                asked["cursor"] = page["cursor"]
    return dict(counts)
