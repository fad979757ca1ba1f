"""The course of a login: from what a person typed to the account that the authorization server vouches for.

No token outlives it: what the server grants is revoked as soon as the account's DID is known.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from api_gateway.auth.pending_logins import PendingLogin, digest, new_secret, put_pending, take_pending
from api_gateway.bus import Bus
from api_gateway.oauth.client import OAuthClient
from api_gateway.oauth.errors import OAuthError, OAuthReason
from api_gateway.oauth.jose import challenge_of, key_from_pem, key_to_pem, new_key, new_verifier
from api_gateway.oauth.server import (
    Conversation,
    Granted,
    describe,
    exchange_code,
    issuer_of_host,
    issuer_of_pds,
    push_request,
    revoke,
)
from api_gateway.oauth.server_metadata import AuthorizationServer
from api_gateway.problems import Problem
from headwater.egress import parse_http_url
from headwater.errors import InvalidInputError, Reason, TransientError
from headwater.http import GuardedHttp
from headwater.identity import IdentityResolver
from headwater.syntax import is_did, is_handle

log = logging.getLogger("api_gateway.login")

MAX_ACTOR: Final = 512


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the browser goes now, and the mark that it keeps until it comes back."""

    url: str
    browser: str


@dataclass(frozen=True, slots=True)
class Callback:
    """What a browser comes back with (RFC 6749 section 4.1.2, RFC 9207), and its mark."""

    state: str
    code: str | None
    issuer: str | None
    error: str | None
    browser: str | None


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The account, verified both ways, and its handle where that holds."""

    did: str
    handle: str | None


class Logins:
    """Runs logins."""

    def __init__(self, bus: Bus, http: GuardedHttp, resolver: IdentityResolver) -> None:
        self._bus = bus
        self._http = http
        self._resolver = resolver

    async def begin(self, client: OAuthClient, actor: str, browser: str | None) -> Begun:
        """Find who is in charge of ``actor`` (a handle, a DID, the URL of a PDS), and push a request there.

        ``browser`` is the mark of a login that this browser has begun already, perhaps in another tab: it stays.
        Raises InvalidInputError (it names nobody), OAuthError (no OAuth there), TransientError (no answer),
        Problem 503.
        """
        did, issuer = await self._in_charge(actor)
        state, verifier = new_secret(), new_verifier()
        browser = browser if browser is not None and len(browser) == len(state) else new_secret()
        talk = Conversation(await describe(self._http, issuer), new_key())
        hint = None if did is None else actor.strip().removeprefix("@")
        request_uri, talk = await push_request(
            self._http, client, talk, state=state, challenge=challenge_of(verifier), hint=hint
        )
        pending = PendingLogin(
            browser=digest(browser),
            issuer=issuer,
            token_endpoint=talk.server.token,
            revocation_endpoint=talk.server.revocation,
            did=did,
            verifier=verifier,
            key_pem=key_to_pem(talk.key),
            nonce=talk.nonce,
        )
        await put_pending(self._bus, state, pending)
        separator = "&" if "?" in talk.server.authorization else "?"
        query = urlencode({"client_id": client.client_id, "request_uri": request_uri})
        return Begun(f"{talk.server.authorization}{separator}{query}", browser)

    async def finish(self, client: OAuthClient, callback: Callback) -> LoggedIn:
        """The account that a callback brings. Raises what `begin` raises, and Problem 400, 403."""
        pending = await take_pending(self._bus, callback.state, callback.browser)
        if callback.issuer != pending.issuer:
            raise OAuthError(OAuthReason.ISSUER_MISMATCH, "the answer comes from another authorization server")
        if callback.error is not None:
            raise _said_no(callback.error)
        if callback.code is None:
            raise Problem(HTTPStatus.BAD_REQUEST, "login_malformed", "the callback has no code")
        granted, talk = await exchange_code(
            self._http, client, _resumed(pending), code=callback.code, verifier=pending.verifier
        )
        account, _ = await asyncio.gather(self._verify(pending, granted), self._give_back(client, talk, granted))
        return account

    async def _in_charge(self, actor: str) -> tuple[str | None, str]:
        """The DID, where the actor is an account, and the issuer that answers for it."""
        actor = actor.strip()
        if "://" in actor:
            origin = str(parse_http_url(actor[:MAX_ACTOR]).origin())
            return None, await issuer_of_host(self._http, origin)
        name = actor.removeprefix("@")
        if not (is_did(name) or is_handle(name)):
            # Without what was typed: people type their password in the wrong field, and this goes to the log.
            raise InvalidInputError(Reason.SYNTAX, "that is neither a handle nor a DID")
        identity = await self._resolver.resolve_actor(actor)
        if identity.pds is None:
            raise InvalidInputError(Reason.NO_PDS, f"{identity.did} has no PDS")
        return identity.did, await issuer_of_pds(self._http, identity.pds)

    async def _verify(self, pending: PendingLogin, granted: Granted) -> LoggedIn:
        """Hold the server's word against the DID's own document, read anew: any server could name any DID."""
        if pending.did is not None and granted.did != pending.did:
            raise OAuthError(OAuthReason.ACCOUNT_MISMATCH, f"{granted.did} logged in, not {pending.did}")
        identity = await self._resolver.resolve_did(granted.did, refresh=True)
        if identity.pds is None:
            raise InvalidInputError(Reason.NO_PDS, f"{identity.did} has no PDS")
        if await issuer_of_pds(self._http, identity.pds) != pending.issuer:
            raise OAuthError(OAuthReason.ISSUER_MISMATCH, f"{pending.issuer} does not serve {granted.did}")
        try:
            holds = await self._resolver.verify_handle(identity)
        except TransientError:
            holds = False
        return LoggedIn(granted.did, identity.handle if holds else None)

    async def _give_back(self, client: OAuthClient, talk: Conversation, granted: Granted) -> None:
        try:
            await revoke(self._http, client, talk, granted)
        except (OAuthError, InvalidInputError, TransientError) as error:
            # It is forgotten here all the same, and expires there.
            log.warning("%s did not take a token back: %s", talk.server.issuer, error)


def _resumed(pending: PendingLogin) -> Conversation:
    server = AuthorizationServer(
        issuer=pending.issuer,
        authorization="",
        pushed_request="",
        token=pending.token_endpoint,
        revocation=pending.revocation_endpoint,
    )
    return Conversation(server, key_from_pem(pending.key_pem), pending.nonce)


def _said_no(error: str) -> Problem:
    if error == "access_denied":
        return Problem(HTTPStatus.FORBIDDEN, "consent_denied", "the login was not consented to")
    return Problem(HTTPStatus.BAD_REQUEST, "login_refused", "the authorization server ended the login")
