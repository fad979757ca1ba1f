"""A person's visit at the authorization endpoint: signs in, consents or does not, and is sent back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from simulator.reply import Reply

from . import pages
from .grants import Grants, Request

if TYPE_CHECKING:
    from simulator.account import Account

REQUEST_SECONDS = 300.0


@dataclass
class Visits:
    """Requests that wait for a person. `find` gives the account of a handle or DID on this host."""

    issuer: str
    grants: Grants
    find: Callable[[str], Account | None]
    waiting: dict[str, Request] = field(default_factory=dict)

    def push(self, request: Request) -> str:
        """Let a request wait; its request_uri."""
        uri = f"urn:ietf:params:oauth:request_uri:{secrets.token_urlsafe(24)}"
        self.waiting[uri] = request
        return uri

    async def respond(self, asked: web.Request) -> Reply:
        """The page for GET, the next one or the way back for POST."""
        fields = asked.query if asked.method == "GET" else await asked.post()
        form = {name: str(value) for name, value in fields.items()}
        uri = form.get("request_uri", "")
        request = self.waiting.get(uri)
        if request is None or request.until < time.monotonic() or form.get("client_id") != request.client_id:
            return pages.failure("The request is unknown, too old, or answered already")
        if asked.method == "GET":
            return self._open(asked, request, uri)
        if asked.headers.get("Origin") != self.issuer or asked.cookies.get(self._cookie) != request.device:
            return pages.failure("This was not sent from the page of this login", 403)
        return self._next(form, request, uri)

    def answer(self, uri: str, did: str | None) -> str:
        """Where a browser is sent to: with a code for an account that consents, with the error of a no (None)."""
        request = self.waiting.pop(uri)
        said = {"error": "access_denied"} if did is None else {"code": self.grants.new_code(request, did)}
        back = request.form["redirect_uri"]
        query = urlencode({**said, "state": request.form["state"], "iss": self.issuer})
        return f"{back}{'&' if urlsplit(back).query else '?'}{query}"

    def _open(self, asked: web.Request, request: Request, uri: str) -> Reply:
        device = asked.cookies.get(self._cookie) or secrets.token_urlsafe(24)
        if request.device not in (None, device):
            return pages.failure("The request was opened in another browser", 403)
        request.device = device
        page = pages.sign_in(request, uri, urlsplit(self.issuer).netloc)
        page.headers["Set-Cookie"] = f"{self._cookie}={device}; Path=/oauth; HttpOnly; SameSite=Lax"
        return page

    def _next(self, form: dict[str, str], request: Request, uri: str) -> Reply:
        match form.get("step"):
            case "sign-in":
                return self._sign_in(form, request, uri)
            case "authorize" if request.account is not None:
                return _see_other(self.answer(uri, request.account))
            case "deny":
                return _see_other(self.answer(uri, None))
        return pages.failure("Sign in first")

    def _sign_in(self, form: dict[str, str], request: Request, uri: str) -> Reply:
        account = self.find(form.get("identifier", "").strip().removeprefix("@").lower())
        if account is None or not secrets.compare_digest(form.get("password", ""), account.password):
            host = urlsplit(self.issuer).netloc
            return pages.sign_in(request, uri, host, "Wrong handle or password.", 401)
        request.account = account.did
        return pages.consent(request, uri, account.handle, account.did)

    @property
    def _cookie(self) -> str:
        # Cookies are shared by all ports of a host.
        return f"device-{urlsplit(self.issuer).port}"


def _see_other(url: str) -> Reply:
    return Reply(b"", "text/plain", 303, {"Location": url, "Cache-Control": "no-store"})
