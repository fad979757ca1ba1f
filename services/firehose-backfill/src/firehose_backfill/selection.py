"""Which accounts and records a worker takes: its partitions, COLLECTIONS and EXCLUDE_DIDS. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from headwater.bus.subjects import owned_partitions, partition
from headwater.collection_filter import ALL_COLLECTIONS, CollectionFilter
from headwater.syntax import is_did

# Strangers invent collections; what was decided of so many is remembered.
_REMEMBERED: Final = 10_000


class Selection:
    """Records of collections outside the filter are left out; accounts in ``excluded`` are left out whole.

    Raises ValueError when one of ``excluded`` is no DID.
    """

    def __init__(
        self,
        worker_id: int = 0,
        worker_count: int = 1,
        collections: CollectionFilter = ALL_COLLECTIONS,
        excluded: Collection[str] = (),
    ) -> None:
        wrong = [did for did in excluded if not is_did(did)]
        if wrong:
            raise ValueError(f"not a DID: {', '.join(wrong)[:200]}")
        self._alone = worker_count == 1
        self._partitions = frozenset(owned_partitions(worker_id, worker_count))
        self._excluded = frozenset(excluded)
        self._collections = collections
        self._decided: dict[str, bool] = {}

    def owns(self, did: str) -> bool:
        """Whether the account's events are this worker's to take."""
        return self._alone or partition(did) in self._partitions

    def excludes(self, did: str) -> bool:
        """Whether nothing of the account is wanted."""
        return did in self._excluded

    def wants(self, collection: str) -> bool:
        """Whether records of a collection are wanted."""
        known = self._decided.get(collection)
        if known is None:
            known = collection in self._collections
            if len(self._decided) < _REMEMBERED:
                self._decided[collection] = known
        return known


def split_list(setting: str) -> list[str]:
    """The parts of a comma-separated setting, without blanks and empty ones."""
    return [part for part in (text.strip() for text in setting.split(",")) if part]
