"""Codes and tokens: what came of a consent, each bound to its client, its DPoP key and its account."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from .clients import SCOPE
from .errors import OAuthError
from .jws import digest

_CODE_SECONDS = 60.0
_TOKEN_SECONDS = 300.0


@dataclass
class Request:
    """An authorization request that was pushed; `device` is the browser that has opened it."""

    client_id: str
    client_name: str
    form: Mapping[str, str]
    key: str
    until: float
    device: str | None = None
    account: str | None = None


@dataclass
class Grant:
    """What an account has allowed to a client with one key. It ends as a whole."""

    client_id: str
    key: str
    did: str
    access_token: str = ""
    refresh_token: str = ""
    until: float = 0.0

    def renew(self) -> dict[str, object]:
        """New tokens in place of the old ones, as the token endpoint answers them."""
        self.access_token, self.refresh_token = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self.until = time.monotonic() + _TOKEN_SECONDS
        tokens = {"access_token": self.access_token, "refresh_token": self.refresh_token, "token_type": "DPoP"}
        return {**tokens, "scope": SCOPE, "sub": self.did, "expires_in": int(_TOKEN_SECONDS)}


@dataclass
class Code:
    """A code before and after it was redeemed: one that comes again ends what came of it."""

    request: Request
    did: str
    until: float
    grant: Grant | None = None


@dataclass
class Grants:
    """All of one server. `ended` are those that were revoked."""

    codes: dict[str, Code] = field(default_factory=dict)
    running: list[Grant] = field(default_factory=list)
    ended: list[Grant] = field(default_factory=list)

    def new_code(self, request: Request, did: str) -> str:
        """A code for a request that its account has consented to."""
        code = secrets.token_urlsafe(24)
        self.codes[code] = Code(request, did, time.monotonic() + _CODE_SECONDS)
        return code

    def redeem(self, form: Mapping[str, str], client_id: str, key: str) -> dict[str, object]:
        """Tokens for a code (RFC 6749 section 4.1.3, RFC 7636 section 4.6). Raises OAuthError(invalid_grant)."""
        code = self.codes.get(form.get("code", ""))
        if code is None or code.until < time.monotonic():
            raise OAuthError("invalid_grant", "the code is unknown or too old")
        if code.grant is not None:
            self._end(code.grant)
            raise OAuthError("invalid_grant", "the code was used before; what it brought is revoked")
        # Whatever comes of it, it is used now: nobody gets a second try at the verifier.
        code.grant = Grant(client_id, key, code.did)
        asked = code.request
        if (client_id, key) != (asked.client_id, asked.key):
            raise OAuthError("invalid_grant", "the code is another client's, or another key's")
        if form.get("redirect_uri") != asked.form["redirect_uri"]:
            raise OAuthError("invalid_grant", "redirect_uri is not that of the request")
        if digest(form.get("code_verifier", "")) != asked.form["code_challenge"]:
            raise OAuthError("invalid_grant", "code_verifier is not that of code_challenge")
        self.running.append(code.grant)
        return code.grant.renew()

    def refresh(self, form: Mapping[str, str], client_id: str, key: str) -> dict[str, object]:
        """New tokens for a refresh token, which is good once. Raises OAuthError(invalid_grant)."""
        token = form.get("refresh_token", "")
        for grant in self.running:
            if token == grant.refresh_token and (grant.client_id, grant.key) == (client_id, key):
                return grant.renew()
        raise OAuthError("invalid_grant", "the refresh token is unknown, was used, or is another's")

    def revoke(self, token: str, client_id: str) -> None:
        """End what a token belongs to (RFC 7009); an unknown one is no error."""
        for grant in list(self.running):
            if token in (grant.access_token, grant.refresh_token) and grant.client_id == client_id:
                self._end(grant)

    def account(self, access_token: str, key: str) -> str:
        """Whose a token is. Raises OAuthError(invalid_token)."""
        for grant in self.running:
            if (grant.access_token, grant.key) == (access_token, key) and grant.until > time.monotonic():
                return grant.did
        raise OAuthError("invalid_token", "the token is unknown, revoked, too old, or of another key", 401)

    def _end(self, grant: Grant) -> None:
        if grant in self.running:
            self.running.remove(grant)
            self.ended.append(grant)
