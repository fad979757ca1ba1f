"""The methods that a user's token can be bound to (``lxm``), one for each thing that a user can do.

A token for one method opens no other, as everywhere in atproto: an app that may look at a job cannot cancel it.
Tokens of the methods that change something are good for one request; the reading ones until they expire, so that
following a job does not need a new token for each look.
"""

from __future__ import annotations

from enum import StrEnum


class Method(StrEnum):
    """The NSIDs that tokens name."""

    REQUEST_BACKFILL = "app.headwater.user.requestBackfill"
    CANCEL_BACKFILL = "app.headwater.user.cancelBackfill"
    LIST_BACKFILLS = "app.headwater.user.listBackfills"
    GET_BACKFILL = "app.headwater.user.getBackfill"
    GET_STATS = "app.headwater.user.getStats"
    GET_SETTINGS = "app.headwater.user.getSettings"
    UPDATE_SETTINGS = "app.headwater.user.updateSettings"
    LIST_RECORDS = "app.headwater.user.listRecords"
    EXPORT_RECORDS = "app.headwater.user.exportRecords"
    TOGGLE_COLLECTION = "app.headwater.user.toggleCollection"
    DELETE_DATA = "app.headwater.user.deleteData"

    @property
    def changes(self) -> bool:
        """Whether the method changes something, so that a token for it is good for one request only."""
        return self in _CHANGING


_CHANGING = frozenset(
    {
        Method.REQUEST_BACKFILL,
        Method.CANCEL_BACKFILL,
        Method.UPDATE_SETTINGS,
        Method.TOGGLE_COLLECTION,
        Method.DELETE_DATA,
    }
)
