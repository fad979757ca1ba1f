"""The parts of the page about a user's own rows, as a browser without JavaScript uses them."""

from __future__ import annotations

import re
from html import unescape

import httpx

from indexer_rig import LIKE, POST
from own_data_rig import ROWS, Stack
from simulator.account import Account
from simulator.world import World
from waiting import until


async def shown(browser: httpx.AsyncClient, path: str = "/user", status: int = 200) -> str:
    answer = await browser.get(path)
    assert answer.status_code == status, answer.text
    assert "unsafe-inline" not in answer.headers["content-security-policy"]
    assert " style=" not in answer.text
    return unescape(answer.text)


async def sent(browser: httpx.AsyncClient, path: str, **form: str) -> httpx.Response:
    return await browser.post(f"/user/privacy/{path}", data=form)


async def test_figures_and_records_can_be_read_and_searched(stack: Stack, world: World) -> None:
    alice, bob = world.accounts
    await stack.fill(alice, "one")
    async with await stack.log_in(alice) as browser:
        page = await shown(browser)
        assert f"<code>{POST}</code>" in page
        assert page.count("<rect") == 1
        assert "1970-01: 6" in page
        assert "In step with your account" in page
        found = await shown(browser, f"/user/records?collection={POST}")
        uris = re.findall(r"at://\S+(?=</code>)", found)
        assert uris == [f"at://{alice.did}/{POST}/p{number}" for number in (4, 3, 2, 1, 0)]
        assert '"value": 4' in found
        assert "There are none." in await shown(browser, f"/user/records?collection={POST}&text=zebra")
        assert "A collection is a name" in await shown(browser, "/user/records?collection=%3Cscript%3E", 422)
        assert "does not exist" in await shown(browser, f"/user/records?collection={POST}&cursor=x", 422)
        export = await browser.get("/api/user/export")
        assert len(export.text.splitlines()) == len(ROWS)
    async with await stack.log_in(bob) as browser:
        assert "There are none." in await shown(browser, f"/user/records?collection={POST}")
        assert alice.did not in await shown(browser)


async def test_a_record_is_shown_as_text_and_never_as_markup(stack: Stack, world: World) -> None:
    alice = world.accounts[0]
    await stack.table.execute(
        "INSERT INTO record (did, collection, rkey, cid, rev, created_at, record)"
        " VALUES ($1, $2, 'k', 'c', 'r', now(), $3)",
        alice.did,
        POST,
        '{"text": "<script>alert(1)</script>"}',
    )
    async with await stack.log_in(alice) as browser:
        answer = await browser.get(f"/user/records?collection={POST}")
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text


async def test_everything_about_privacy_works_by_forms(stack: Stack, world: World) -> None:
    alice = world.accounts[0]
    await stack.fill(alice, "one")
    async with await stack.log_in(alice) as browser:
        assert (await sent(browser, "indexing", opted_out="yes")).status_code == 303
        assert "You have opted out" in await shown(browser)
        assert (await sent(browser, "indexing", opted_out="no")).status_code == 303
        assert (await sent(browser, "collection", collection=LIKE, excluded="yes")).status_code == 303
        assert f"Let in again: {LIKE}" in await shown(browser)
        assert (await sent(browser, "collection", collection="likes", excluded="yes")).status_code == 422
        wrong = await sent(browser, "delete", confirm=world.accounts[1].handle)
        assert (wrong.status_code, "Nothing was deleted" in wrong.text) == (422, True)
        assert await stack.rows(alice) > 0
        assert (await sent(browser, "delete", confirm=alice.handle)).status_code == 303
        await until(lambda: _is_gone(stack, alice))
        assert "Nothing of yours is here any more" in await shown(browser)


async def _is_gone(stack: Stack, account: Account) -> bool:
    return await stack.rows(account) == 0


async def test_another_sites_page_cannot_decide(stack: Stack, world: World) -> None:
    alice = world.accounts[0]
    await stack.fill(alice, "one")
    forms = {"indexing": {"opted_out": "yes"}, "delete": {"confirm": alice.did}, "collection": {"collection": POST}}
    async with await stack.log_in(alice) as browser:
        browser.headers["Sec-Fetch-Site"] = "cross-site"
        for path, form in forms.items():
            assert (await sent(browser, path, **form)).status_code == 403
        assert (await browser.patch("/api/user/settings", json={"opted_out": True})).status_code == 403
        assert (await browser.post("/api/user/delete-data", json={"confirm": alice.did})).status_code == 403
        browser.headers["Sec-Fetch-Site"] = "same-origin"
        browser.cookies.clear()
        for path, form in forms.items():
            assert (await sent(browser, path, **form)).status_code == 401
    assert await stack.rows(alice) == len(ROWS)
    assert not (await stack.settings(alice))["opted_out"]
