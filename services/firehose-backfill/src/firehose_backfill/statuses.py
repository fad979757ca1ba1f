"""What a gap has hidden of accounts themselves: who went, who came back, and who is in no list any more.

An ``#account`` event tells it once. Where it was missed, the relay's list tells it of all that are in it. A deleted
account may not be: whoever the table shows and the list does not is asked for, at the relay and then at its own host,
whose word alone deletes anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlencode

from firehose_backfill.listing import ListedRepo
from firehose_backfill.listing_client import obey_rate_limit
from firehose_backfill.seen_dids import SeenDids
from firehose_backfill.table import Table
from headwater.bus.messages import LiveAccount, LiveBatch, encode
from headwater.bus.publish import Publisher
from headwater.bus.subjects import live_subject, partition
from headwater.clock import now_us
from headwater.errors import InvalidInputError, Reason, TransientError
from headwater.http import GuardedHttp

log = logging.getLogger("firehose_backfill.statuses")

_TABLE_NAMES: Final = {"takendown": "taken_down"}
_GONE: Final = frozenset(("reponotfound", "repodeleted", "accountnotfound", "accountdeleted"))
_AT_ONCE: Final = 8
_MAX_BYTES: Final = 65_536
_SECONDS: Final = 20.0
_HTTP_OK: Final = 200
SPARE_MISSING: Final = 1_000
"""So many may always be missing from a list."""
_LISTED_BY: Final = "listRepos"


class Said(NamedTuple):
    """What a host says of an account: whether it is active, and why not."""

    active: bool
    status: str | None


class Statuses:
    """Tells the table what has become of accounts, but of ``excluded`` ones. ``pds_of`` looks past all caches.

    Methods raise TransientError when no indexer answers, and nats errors.
    """

    def __init__(
        self,
        table: Table,
        publisher: Publisher,
        http: GuardedHttp,
        pds_of: Callable[[str], Awaitable[str | None]],
        excluded: Collection[str],
    ) -> None:
        self._table = table
        self._publisher = publisher
        self._http = http
        self._pds_of = pds_of
        self._excluded = excluded

    async def compare(self, repos: Sequence[ListedRepo], asked_us: int) -> None:
        """Tell what a page of a relay's list, which was asked for at ``asked_us``, says otherwise than the table."""
        known = {one.did: one.status for one in (await self._table.standings([repo.did for repo in repos])).standings}
        differ = [repo for repo in repos if _differs(known.get(repo.did), repo) and repo.did not in self._excluded]
        await self._tell([(repo.did, Said(repo.active, repo.status)) for repo in differ], asked_us)

    async def look_for_missing(self, relay: str, listed: SeenDids) -> int:
        """Find out what became of those that the table shows and ``listed``, the relay's whole list, does not; how
        many are not active any more.

        A list that lacks more than a tenth of the table is no list of all: then nobody more is asked for.
        """
        number = followed = lacking = 0
        async for dids in self._table.followed():
            missing = [did for did in dids if did not in listed and did not in self._excluded]
            followed, lacking = followed + len(dids), lacking + len(missing)
            if lacking > max(SPARE_MISSING, followed // 10):
                log.warning("the list of %s lacks %d of %d accounts; the others are left", relay, lacking, followed)
                break
            for start in range(0, len(missing), _AT_ONCE):
                some = missing[start : start + _AT_ONCE]
                asked_us = now_us()
                answers = await asyncio.gather(*(self._find(relay, did) for did in some))
                said = [(did, said) for did, said in zip(some, answers, strict=True) if said and not said.active]
                await self._tell(said, asked_us)
                number += len(said)
        return number

    async def _find(self, relay: str, did: str) -> Said | None:
        """What is said of an account; None where nobody can say it now."""
        said = await self._ask(relay, did)
        if said is not None and said.status != "deleted":
            return said
        try:
            pds = await self._pds_of(did)
        except InvalidInputError as error:
            return Said(False, "deleted") if error.reason is Reason.ACCOUNT_DELETED else None
        except TransientError:
            return None
        return None if pds is None else await self._ask(pds, did)

    async def _ask(self, origin: str, did: str) -> Said | None:
        """A host's getRepoStatus; None where it does not say."""
        url = f"{origin}/xrpc/com.atproto.sync.getRepoStatus?{urlencode({'did': did})}"
        try:
            answer = await self._http.get_json(url, max_bytes=_MAX_BYTES, total_timeout=_SECONDS)
        except (InvalidInputError, TransientError) as error:
            log.info("%s does not say what became of %s: %s", origin[:100], did, error)
            return None
        await obey_rate_limit(answer)
        value = answer.value if isinstance(answer.value, dict) else {}
        if answer.status != _HTTP_OK:
            return Said(False, "deleted") if str(value.get("error")).lower() in _GONE else None
        if value.get("did") != did or not isinstance(value.get("active"), bool):
            return None
        status = value.get("status")
        return Said(value["active"], status if isinstance(status, str) else None)

    async def _tell(self, accounts: Sequence[tuple[str, Said]], asked_us: int) -> None:
        """Put it on the live lane, as if an ``#account`` had told it at ``asked_us``: whatever came later holds."""
        batches: dict[int, list[LiveAccount]] = defaultdict(list)
        for did, (active, status) in accounts:
            log.info("%s is %s, which no event has told", did, "active" if active else status or "not active")
            event = LiveAccount(did=did, seq=0, at_us=asked_us, active=active, status=None if active else status)
            batches[partition(did)].append(event)
        for lane, events in batches.items():
            batch = encode(LiveBatch(relay=_LISTED_BY, events=list(events)))
            await self._publisher.publish(live_subject(events[0].did), batch, f"statuses.{asked_us}.{lane}")


def _differs(known: str | None, repo: ListedRepo) -> bool:
    """Whether the table, where it knows the account at all, has another status of it."""
    if known is None:
        return False
    if repo.active or repo.status is None:
        return (known == "active") is not repo.active
    return known != _TABLE_NAMES.get(repo.status, repo.status)
