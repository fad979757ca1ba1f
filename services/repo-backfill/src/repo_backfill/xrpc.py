"""What a PDS's refusals mean. Pure.

Source: the lexicons com.atproto.sync.getRepo, getLatestCommit and getRepoStatus, and what PDSes in use say instead.
"""

from __future__ import annotations

from typing import Final

from headwater.errors import InvalidInputError, Reason

_ACCOUNT_ERRORS: Final = {
    "reponotfound": Reason.NOT_FOUND,
    "accountnotfound": Reason.NOT_FOUND,
    "notfound": Reason.NOT_FOUND,
    "repodeactivated": Reason.DEACTIVATED,
    "accountdeactivated": Reason.DEACTIVATED,
    "reposuspended": Reason.SUSPENDED,
    "accountsuspended": Reason.SUSPENDED,
    "repotakendown": Reason.TAKEN_DOWN,
    "accounttakedown": Reason.TAKEN_DOWN,
    "accounttakendown": Reason.TAKEN_DOWN,
    "repodeleted": Reason.NOT_FOUND,
    "accountdeleted": Reason.NOT_FOUND,
}
MOVED: Final = frozenset({Reason.NOT_FOUND, Reason.DEACTIVATED})
"""What the PDS that an account has left says of it: the account may live elsewhere by now."""


def refusal(status: int, body: object) -> InvalidInputError:
    """The reason in an error response: its status (4xx, or an unexpected one) and its JSON, None without any."""
    error = body.get("error") if isinstance(body, dict) else None
    message = body.get("message") if isinstance(body, dict) else None
    name = error if isinstance(error, str) else ""
    detail = f"status {status}"
    if name:
        detail += f", {name[:60]}"
    if isinstance(message, str):
        detail += f": {message[:120]}"
    # A bare 404 is a host that does not know the method, or is no PDS: it says nothing about the account.
    return InvalidInputError(_ACCOUNT_ERRORS.get(name.lower(), Reason.REFUSED_BY_HOST), detail)
