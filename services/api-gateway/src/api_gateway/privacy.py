"""What users decide about their own data, for every way of asking: checked here, done by the indexer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from api_gateway.bus import Bus
from api_gateway.indexer_client import account_settings, change_privacy
from api_gateway.problems import Problem
from headwater.bus.queries import AccountSettings, ChangePrivacy
from headwater.errors import InvalidInputError
from headwater.identity import IdentityResolver
from headwater.syntax import is_did, is_handle

_DELETING_SECONDS: Final = 3.0
_REFUSALS: Final = {
    "deletion_running": "rows of before are still being deleted; ask again in a moment",
    "too_many_excluded": "so many collections cannot be excluded",
}


async def set_opted_out(bus: Bus, did: str, opted_out: bool) -> AccountSettings:
    """Stop indexing an account, or start again. Raises Problem 409 (deletion_running) and 503."""
    return await _change(bus, ChangePrivacy(did=did, opted_out=opted_out))


async def set_excluded(bus: Bus, did: str, collection: str, excluded: bool) -> AccountSettings:
    """Keep a collection out, or let it in again. Raises Problem 409 and 503."""
    return await _change(bus, ChangePrivacy(did=did, collection=collection, excluded=excluded))


async def delete_data(bus: Bus, resolver: IdentityResolver, did: str, confirm: str) -> AccountSettings:
    """Delete all that is held of an account. Raises Problem 422 where ``confirm`` does not name it, and 503."""
    if not await _names(bus, resolver, did, confirm.strip().removeprefix("@").lower()):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "not_confirmed", "type your handle or your DID to confirm the deletion"
        )
    return await _change(bus, ChangePrivacy(did=did, delete=True))


async def _names(bus: Bus, resolver: IdentityResolver, did: str, typed: str) -> bool:
    if is_did(typed) or not is_handle(typed):
        return typed == did.lower()
    if typed == (await account_settings(bus, did)).handle:
        return True
    try:
        # The handle may be newer than what the table knows, or the table may know none.
        return await resolver.resolve_handle(typed) == did
    except InvalidInputError:
        return False


async def _change(bus: Bus, change: ChangePrivacy) -> AccountSettings:
    changed = await change_privacy(bus, change)
    if changed.refused is not None:
        raise Problem(
            HTTPStatus.CONFLICT,
            changed.refused,
            _REFUSALS.get(changed.refused, changed.refused),
            retry_after=_DELETING_SECONDS if changed.refused == "deletion_running" else None,
        )
    return changed.settings
