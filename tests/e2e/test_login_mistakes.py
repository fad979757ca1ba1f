"""Every way in which a login goes wrong before a person's eyes: a clear page, no session, and no secret in any log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx
import pytest
from playwright.async_api import Browser, Page, Request, Route, expect

from e2e.accounts import new_account
from e2e.real_network import PASSWORD, Account, RealNetwork
from e2e.running_stack import GATEWAY_DID, RunningStack, running_stack
from e2e.web import Person, person, require_chromium

NOBODY = "did:plc:" + "c" * 24


@pytest.fixture(scope="module")
def stack(_real_servers: dict[str, str]) -> Iterator[RunningStack]:
    """A stack that says all it can say in its log."""
    require_chromium()
    with running_stack(
        _real_servers["plc_url"], HANDLE_RESOLVER_URL=_real_servers["pds_url"], HEADWATER_LOG_LEVEL="debug"
    ) as running:
        yield running


class Secrets:
    """Notes what a browser sends and gets that nobody else may learn."""

    def __init__(self) -> None:
        self.seen: set[str] = {PASSWORD}

    def watch(self, page: Page) -> None:
        page.on("request", self._note)

    def _note(self, request: Request) -> None:
        for name, value in parse_qsl(urlsplit(request.url).query):
            if name in ("code", "state", "request_uri"):
                self.seen.add(value)

    async def note_cookies(self, somebody: Person) -> None:
        self.seen |= {c["value"] for c in await somebody.context.cookies() if "headwater" in c["name"]}


async def typed(somebody: Person, actor: str) -> None:
    await somebody.page.goto(f"{somebody.url}/user")
    await somebody.page.get_by_label("Your handle").fill(actor)
    await somebody.page.get_by_role("button", name="Log in").click()


async def says(somebody: Person, text: str) -> None:
    await expect(somebody.page.locator(".notice.bad")).to_contain_text(text)
    await expect(somebody.page.get_by_label("Your handle")).to_be_visible()


async def intercepted_callback(somebody: Person, account: Account) -> str:
    """Log in up to the moment in which the browser would come back: the callback's URL, which was not asked.

    The PDS sends the browser there from a page of its own, which says all of it.
    """
    caught: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def catch(route: Route, request: Request) -> None:
        said = dict(parse_qsl(urlsplit(request.url).query))
        if not caught.done():
            caught.set_result(
                f"{said['redirect_uri']}?{urlencode({name: said[name] for name in ('iss', 'state', 'code')})}"
            )
        await route.fulfill(status=200, body="caught")

    await somebody.context.route("**/oauth/authorize/redirect*", catch)
    await typed(somebody, account.handle)
    await somebody.consent()
    url = await asyncio.wait_for(caught, 60)
    await somebody.context.unroute("**/oauth/authorize/redirect*")
    return url


def changed(url: str, **parameters: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=urlencode(dict(parse_qsl(parts.query)) | parameters)))


@pytest.mark.timeout(600)
async def test_each_mistake_is_said_plainly_and_no_secret_is_logged(
    browser: Browser, stack: RunningStack, real_network: RealNetwork
) -> None:
    kim = await new_account(real_network, "kim-mistakes.test", posts=1)
    secrets = Secrets()
    async with person(browser, stack) as somebody, person(browser, stack) as thief:
        for one in (somebody, thief):
            secrets.watch(one.page)
        await _who_is_nobody(somebody)
        await _a_no(somebody, kim)
        await _stolen_and_forged(somebody, thief, kim, secrets)
        await _replayed_and_ended(somebody, kim, secrets)
        await _anothers_job(thief)
        for one in (somebody, thief):
            await secrets.note_cookies(one)
            one.complaints[:] = [text for text in one.complaints if "status of 503" not in text]
    token = await real_network.service_auth(kim, GATEWAY_DID, "app.headwater.user.getStats")
    async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=60, trust_env=False) as client:
        for bearer in (token, token[:-8] + "AAAAAAAA", stack.token):
            for path in ("/api/user/stats", "/api/admin/status"):
                await client.get(path, headers={"Authorization": f"Bearer {bearer}"})
    secrets.seen |= {token, kim.access, stack.token, (stack.home / "operator-token").read_text().strip()}
    _are_not_logged(stack, secrets)


async def _who_is_nobody(somebody: Person) -> None:
    for actor, text in (
        ("not a handle", "neither a handle nor a DID"),
        (PASSWORD, "neither a handle nor a DID"),  # in the wrong field
        ("nobody-mistakes.test", "Your account's identity could not be read."),
        (NOBODY, "Your account's identity could not be read."),
        ("http://127.0.0.1:1", "does not answer just now"),
        (f"{somebody.url}", "offers no login"),
    ):
        await typed(somebody, actor)
        await says(somebody, text)
        await expect(somebody.page.get_by_label("Your handle")).to_have_value(actor)
        assert await somebody.violations() == []


async def _a_no(somebody: Person, account: Account) -> None:
    await typed(somebody, account.handle)
    await somebody.enter_password()
    await somebody.page.get_by_role("button", name="Deny access").click()
    await says(somebody, "You did not allow the login. Nothing was done.")


async def _stolen_and_forged(somebody: Person, thief: Person, account: Account, secrets: Secrets) -> None:
    callback = await intercepted_callback(somebody, account)
    await secrets.note_cookies(somebody)
    await thief.page.goto(callback)
    await says(thief, "begun in another browser. You are not logged in here.")
    await somebody.page.goto(changed(callback, state="x" * 43))
    await says(somebody, "has expired, or was never begun here")
    await somebody.page.goto(changed(callback, iss="https://evil.example"))
    await says(somebody, "did not come from the host that is in charge of your account")
    await somebody.page.goto(callback)
    await says(somebody, "This login was used before")
    await somebody.page.goto(f"{somebody.url}/user")
    await expect(somebody.page.get_by_label("Your handle")).to_be_visible()


async def _replayed_and_ended(somebody: Person, account: Account, secrets: Secrets) -> None:
    callbacks: list[str] = []
    somebody.page.on("request", lambda one: callbacks.append(one.url) if "/oauth/callback" in one.url else None)
    await somebody.log_in(account)
    await secrets.note_cookies(somebody)
    await somebody.page.goto(callbacks[0])
    await says(somebody, "This login was used before")
    await somebody.page.goto(f"{somebody.url}/user")
    await somebody.page.get_by_role("heading", name=account.handle).wait_for()
    old = await somebody.context.cookies()
    await somebody.page.get_by_role("button", name="Log out", exact=True).click()
    await expect(somebody.page.get_by_label("Your handle")).to_be_visible()
    await somebody.context.add_cookies(old)  # type: ignore[arg-type]
    await somebody.page.goto(f"{somebody.url}/user")
    await expect(somebody.page.get_by_label("Your handle")).to_be_visible()


async def _anothers_job(somebody: Person) -> None:
    await somebody.page.goto(f"{somebody.url}/user/records")
    await expect(somebody.page.locator(".notice")).to_contain_text("You are not logged in, or not any more.")
    await somebody.page.goto(f"{somebody.url}/user/nowhere")
    await expect(somebody.page.locator(".notice")).to_contain_text("There is no such page.")


def _are_not_logged(stack: RunningStack, secrets: Secrets) -> None:
    said = stack.whole_log()
    assert "a login ended: consent_denied" in said
    assert "DEBUG" in said
    assert len(secrets.seen) > 8
    found = {secret[:6] for secret in secrets.seen if secret in said}
    assert not found, f"{len(found)} secrets stand in the log; they begin with {found}"
    for kind in ("eyJ", "BEGIN PRIVATE KEY", "DPoP", "client_assertion"):
        assert kind not in said, kind
