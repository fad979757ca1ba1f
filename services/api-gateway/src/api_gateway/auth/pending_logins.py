"""Logins that wait for their callback: in a bucket that forgets them, each good for one callback of one browser."""

from __future__ import annotations

import secrets
from hashlib import sha256
from http import HTTPStatus
from typing import Final

from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from pydantic import BaseModel, ConfigDict

from api_gateway.bus import Bus
from api_gateway.problems import Problem

_MAX_STATE: Final = 128


class PendingLogin(BaseModel):
    """What has to be known when the browser comes back. ``did`` is None where only a host was named."""

    model_config = ConfigDict(frozen=True)

    browser: str
    issuer: str
    token_endpoint: str
    revocation_endpoint: str | None
    did: str | None
    verifier: str
    key_pem: str
    nonce: str | None


def new_secret() -> str:
    """A random value that nobody guesses: a state, or a browser's mark."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """The name under which a secret is kept: whoever reads the bucket cannot use it."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


async def put_pending(bus: Bus, state: str, login: PendingLogin) -> None:
    """Keep a login until its callback, ten minutes at most. Raises nats errors, Problem 503."""
    await bus.logins.put(digest(state), login.model_dump_json().encode())


async def take_pending(bus: Bus, state: str, browser: str | None) -> PendingLogin:
    """The login of a state, once. ``browser`` is the mark that the browser brings.

    A browser that did not begin the login is refused, and spends nothing: who steals a state must not end the
    login of whom it was stolen from. Raises Problem: 400 (never begun, expired, used before), 403 (another browser);
    nats errors.
    """
    key = digest(state[:_MAX_STATE])
    try:
        entry = await bus.logins.get(key)
    except KeyNotFoundError:
        raise _expired() from None
    if not entry.value:
        raise _used()
    login = PendingLogin.model_validate_json(entry.value)
    if browser is None or not secrets.compare_digest(digest(browser), login.browser):
        raise Problem(HTTPStatus.FORBIDDEN, "other_browser", "this login was begun in another browser")
    try:
        # Of two callbacks with one state the server lets one through; what was secret is gone with it.
        await bus.logins.update(key, b"", last=entry.revision)
    except KeyWrongLastSequenceError:
        raise _used() from None
    return login


def _expired() -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, "login_expired", "this login is not known, or was begun too long ago")


def _used() -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, "login_used", "this login has been used already")
