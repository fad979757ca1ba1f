"""What people decide about their data, by the buttons of their page: seen in Postgres, and kept over a restart."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect
from playwright.async_api import Error as PlaywrightError

from e2e.accounts import LIKE, POST, new_account
from e2e.gateway_client import GatewayClient, open_gateway
from e2e.real_network import Account, RealNetwork
from e2e.running_stack import RunningStack, running_stack
from e2e.table import open_database, rows_of
from e2e.web import Person, person, require_chromium
from waiting import until

DECLARATION = "app.bsky.actor.contentVisibilityDeclaration"
PROCESSES = ("api-gateway.0", "indexer.0", "repo-backfill.0", "firehose-backfill.0", "nats", "postgres")


@pytest.fixture
def stack(_real_servers: dict[str, str]) -> Iterator[RunningStack]:
    """A stack of its own, which follows the real PDS's own firehose."""
    require_chromium()
    pds = _real_servers["pds_url"]
    with running_stack(
        _real_servers["plc_url"],
        HANDLE_RESOLVER_URL=pds,
        RELAY_URLS=pds.replace("http://", "ws://"),
        HEADWATER_COOLDOWN_SECONDS="0",
    ) as running:
        yield running


class Home:
    """Gina's page, what Postgres holds of her, and somebody whose records show that the firehose was heard."""

    def __init__(
        self, page: Person, network: RealNetwork, stack: RunningStack, gina: Account, witness: Account
    ) -> None:
        self.person = page
        self.network = network
        self.stack = stack
        self.gina = gina
        self._witness = witness

    async def rows(self) -> set[tuple[str, str]]:
        async with open_database(self.stack) as database:
            return set(await rows_of(database, self.gina.did))

    async def seen(self) -> int:
        """Her posts as everybody who asks the views sees them."""
        async with open_database(self.stack) as database:
            return int(await database.fetchval("SELECT count(*) FROM post WHERE did = $1", self.gina.did))

    async def write(self, text: str, collection: str = POST) -> tuple[str, str]:
        value = {"$type": collection, "text": text, "createdAt": "2026-05-01T00:00:00Z"}
        return collection, await self.network.create(self.gina, collection, value)

    async def firehose_was_heard(self) -> None:
        """What was written until now has come by: what somebody else wrote last is there."""
        rkey = await self.network.create(
            self._witness, POST, {"$type": POST, "text": "so it was", "createdAt": "2026-05-01T00:00:00Z"}
        )

        async def is_there() -> bool:
            async with open_database(self.stack) as database:
                return (POST, rkey) in await rows_of(database, self._witness.did)

        await until(is_there)

    async def press(self, button: str) -> None:
        await self.person.page.get_by_role("button", name=button, exact=True).click()

    async def privacy_says(self, text: str) -> None:
        await expect(self.person.page.locator("#privacy")).to_contain_text(text)

    async def reload(self) -> None:
        await self.person.page.goto(f"{self.person.url}/user")

    async def is_there_again(self) -> bool:
        """The page, with what only the indexer knows, after something was away."""
        try:
            await self.reload()
        except PlaywrightError:
            return False
        return await self.person.page.get_by_label("Collection", exact=True).count() == 1


@pytest.mark.timeout(600)
async def test_decisions_on_the_page_hold_for_rows_jobs_and_live_events(
    browser: Browser, stack: RunningStack, real_network: RealNetwork, tmp_path: Path
) -> None:
    gina = await new_account(real_network, "gina-privacy.test", posts=40)
    hal = await new_account(real_network, "hal-privacy.test", posts=1)
    async with person(browser, stack, viewport={"width": 900, "height": 1000}) as somebody:
        await somebody.log_in(gina)
        await somebody.choose("All time")
        await expect(somebody.page.locator(".notice.good")).to_contain_text("61 records")
        home = Home(somebody, real_network, stack, gina, hal)
        await _keep_a_collection_out(home)
        await _declare(home)
        images = Path(__file__).parents[2] / "docs/images" if os.environ.get("SCREENSHOTS") else tmp_path
        await somebody.page.locator("#privacy").screenshot(path=images / "privacy.png")
        await _opt_out_over_a_restart(home)
        somebody.complaints.clear()  # the browser's own words for a site that was away
        await _start_again(home)
        async with open_gateway(stack) as operator:
            await _delete_with_a_job_running(home, operator)


async def _keep_a_collection_out(home: Home) -> None:
    page = home.person.page
    await page.get_by_label("Collection", exact=True).fill("likes")
    await home.press("Keep out")
    await home.privacy_says("A collection is a name such as app.bsky.feed.post.")
    await page.get_by_label("Collection", exact=True).fill(LIKE)
    await home.press("Keep out")
    await expect(page.get_by_role("button", name=f"Let in again: {LIKE}")).to_be_visible()

    async def likes_are_gone() -> bool:
        return not any(collection == LIKE for collection, _ in await home.rows())

    await until(likes_are_gone)
    like, post = await home.write("a like against my will", LIKE), await home.write("a post that is welcome")
    await home.firehose_was_heard()
    rows = await home.rows()
    assert (like in rows, post in rows) == (False, True)
    assert await home.person.violations() == []


async def _declare(home: Home) -> None:
    await home.privacy_says("does not ask to be left out of recommendations")
    await home.network.put(
        home.gina, DECLARATION, "self", {"$type": DECLARATION, "hideFromAlgorithmicRecommendations": True}
    )
    await home.firehose_was_heard()
    await home.reload()
    await home.privacy_says("Your account asks to be left out of recommendations")


async def _opt_out_over_a_restart(home: Home) -> None:
    held = await home.rows()
    await home.press("Stop indexing me")
    await home.privacy_says("You have opted out")
    assert await home.seen() == 0
    await home.write("against my will")
    await home.firehose_was_heard()
    assert await home.rows() == held
    await home.person.choose("All time")
    await expect(home.person.page.locator(".notice.bad")).to_contain_text("You have asked not to be indexed")

    for process in PROCESSES:
        home.stack.kill(process)
    await asyncio.to_thread(home.stack.wait_ready)
    await until(home.is_there_again)
    await home.privacy_says("You have opted out")
    await expect(home.person.page.get_by_role("button", name=f"Let in again: {LIKE}")).to_be_visible()
    await home.write("still against my will")
    await home.firehose_was_heard()
    assert await home.rows() == held
    assert await home.seen() == 0


async def _start_again(home: Home) -> None:
    await home.press("Start indexing me again")
    await home.privacy_says("Stop indexing me")
    listed = await home.network.list_records(home.gina.did)
    wanted = {key for key in listed if key[0] != LIKE}

    async def all_is_back() -> bool:
        return await home.rows() == wanted

    await until(all_is_back)
    assert await home.seen() == sum(key[0] == POST for key in wanted)


async def _delete_with_a_job_running(home: Home, operator: GatewayClient) -> None:
    page = home.person.page
    began = home.stack.log_size
    assert (await operator.post("repo-backfill/pause")).status_code == 204
    try:
        await until(lambda: _said(home.stack, "no new requests are taken", began))
        await home.reload()
        await home.person.choose("All time")
        await expect(page.locator("[sse-swap=state]")).to_have_text("Waiting for its turn")
        await page.get_by_label("Type gina-privacy.test to confirm").fill("hal-privacy.test")
        await home.press("Delete my data")
        await home.privacy_says("Nothing was deleted")
        assert await home.rows() != set()
        await page.get_by_label("Type gina-privacy.test to confirm").fill("gina-privacy.test")
        await home.press("Delete my data")
        await home.privacy_says("You have opted out")
    finally:
        assert (await operator.post("repo-backfill/resume")).status_code == 204
    await expect(page.locator("#backfill .notice.bad")).to_contain_text("Your data here was deleted")
    await home.write("after all was deleted")
    await home.firehose_was_heard()

    async def all_is_gone() -> bool:
        return await home.rows() == set()

    await until(all_is_gone)
    await home.reload()
    await expect(page.locator("#stats")).to_contain_text("Nothing of yours is here any more")


async def _said(stack: RunningStack, text: str, since: int) -> bool:
    return text in stack.log(since)
