"""What goes wrong with an authorization server."""

from __future__ import annotations

from enum import StrEnum


class OAuthReason(StrEnum):
    """Why a login cannot go on. The value is what pages, problem documents and log lines say."""

    NO_OAUTH = "no_oauth"
    """The host offers no OAuth that follows the atproto profile."""
    LOGIN_REFUSED = "login_refused"
    """The authorization server did not take a request of ours."""
    ISSUER_MISMATCH = "issuer_mismatch"
    """Somebody else than the server that was asked has answered, or it does not serve the account."""
    ACCOUNT_MISMATCH = "account_mismatch"
    """The account that logged in is not the one that was named."""


class OAuthError(Exception):
    """A login that ends here. ``detail`` is for people, bounded, and holds no code, token, state or key."""

    def __init__(self, reason: OAuthReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
