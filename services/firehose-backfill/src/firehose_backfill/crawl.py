"""One crawl: every repo in the relay's list, and in its hosts' own lists, that may hold what is wanted is filed.

Everything it does may be done twice. Its place is saved after the requests of a page are in the stream; a crawl that
is taken up again asks once more for what was filed since, and repo-backfill finds that nothing has changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from firehose_backfill import crawl_metrics as metrics
from firehose_backfill.filing import Filing, Scope
from firehose_backfill.listing import ListedHost, ListedRepo, RepoPage, is_wanted
from firehose_backfill.listing_client import ListingClient
from firehose_backfill.seen_dids import SeenDids
from firehose_backfill.table import Table
from headwater.bus.firehose import CrawlProgress, CrawlStage, PieceState
from headwater.bus.firehose_store import FirehoseStore
from headwater.cancelling import Group
from headwater.clock import now_us
from headwater.errors import InvalidInputError, TransientError

log = logging.getLogger("firehose_backfill.crawl")

HOST_TRIES: Final = 3
RELAY_TRIES: Final = 5
_HOSTS_AT_ONCE: Final = 8
_FILED_AT_ONCE: Final = 32
_LOOK_SECONDS: Final = 0.5
# What a stranger's list may be longer than its relay's count of it: accounts come faster than counts.
_SPARE_REPOS: Final = 1_000
_EMPTY_PAGES: Final = 20

Look = Callable[[Sequence[ListedRepo], int], Awaitable[None]]


@dataclass(frozen=True)
class CrawlTools:
    """What crawls share. ``relays`` are origins, in the order of preference; ``max_waiting`` requests may wait."""

    lists: ListingClient
    filing: Filing
    table: Table
    store: FirehoseStore
    relays: Sequence[str]
    host_origin: Callable[[str], str]
    excluded: Collection[str]
    max_waiting: int


class _NoListError(TransientError):
    """A relay cannot be listed to its end now; another one may be."""


class Crawl:
    """A crawl from where ``progress`` says. ``with_hosts``: the hosts' own lists are gone through too. ``look`` sees
    every page of the relay's list, and when it was asked for (microseconds since 1970).

    Who is not followed (``TRACK``) is left alone. ``run`` raises TransientError when no relay can be listed or no
    indexer answers, and nats errors; it can then be begun again from what the store holds.
    """

    def __init__(
        self, tools: CrawlTools, scope: Scope, progress: CrawlProgress, *, with_hosts: bool, look: Look | None = None
    ) -> None:
        self._tools = tools
        self._look = look
        self._scope = scope
        self._with_hosts = with_hosts
        self._seen = SeenDids()
        # Hosts are gone through side by side; what one of them files, the next one must see.
        self._one_files = asyncio.Lock()
        self._remembers_all = progress.stage is CrawlStage.RELAY and progress.cursor is None
        self.progress = progress

    async def run(self) -> None:
        """Go through all lists, and wait until what was filed has ended."""
        await self._save(state=PieceState.RUNNING, detail=None)
        if self.progress.stage is CrawlStage.RELAY:
            await self._crawl_relay()
        if self.progress.stage is CrawlStage.HOSTS:
            await self._crawl_hosts()
        await self._see_the_end()

    async def _crawl_relay(self) -> None:
        """Go through one relay's list. One that was begun at a relay that fails is begun anew at another."""
        for relay in sorted(self._tools.relays, key=lambda origin: origin != self.progress.host):
            try:
                await self._list_relay(relay)
            except _NoListError as error:
                log.warning("%s cannot be listed: %s", relay, error)
            else:
                break
        else:
            raise TransientError("no relay can be listed")
        # In one word with the last page: whoever dies between the two would begin the list anew.
        stage = CrawlStage.HOSTS if self._with_hosts else CrawlStage.ENDING
        await self._save(stage=stage, cursor=None)

    async def _list_relay(self, relay: str) -> None:
        total, hosts = await self._count(relay)
        cursor = self.progress.cursor if relay == self.progress.host else None
        self._remembers_all = self._remembers_all or cursor is None
        await self._save(host=relay, cursor=cursor, total=total, hosts_total=hosts)
        asked_us = now_us()
        async for page in self._pages_of_relay(relay, cursor):
            if self._look is not None:
                await self._look(page.repos, asked_us)
            await self._file(page)
            if page.cursor is not None:
                await self._save(cursor=page.cursor)
            asked_us = now_us()

    async def _pages_of_relay(self, relay: str, cursor: str | None) -> AsyncIterator[RepoPage]:
        """A relay's list. What goes wrong with a page behind that is not the relay's."""
        try:
            async for page in self._tools.lists.repos(relay, cursor, RELAY_TRIES):
                yield page
        except (TransientError, InvalidInputError) as error:
            raise _NoListError(str(error)) from error

    async def _count(self, relay: str) -> tuple[int | None, int | None]:
        """How many accounts and hosts the relay says there are. Raises _NoListError."""
        accounts = hosts = 0
        try:
            async for page in self._tools.lists.hosts(relay, None, RELAY_TRIES):
                hosts += len(page.hosts)
                accounts += sum(host.accounts or 0 for host in page.hosts)
        except InvalidInputError as error:
            log.info("%s lists no hosts: %s", relay, error)
            return None, None
        except TransientError as error:
            raise _NoListError(str(error)) from error
        return accounts or None, hosts

    async def _crawl_hosts(self) -> None:
        relay = self.progress.host or self._tools.relays[0]
        if not self._remembers_all:
            # What was filed from the relay's list is forgotten with the process that filed it.
            async for repos in self._tools.lists.repos(relay, None, RELAY_TRIES):
                self._seen.update(repo.did for repo in repos.repos if is_wanted(repo, self._scope.cutoff_us))
            self._remembers_all = True
        try:
            async for page in self._tools.lists.hosts(relay, self.progress.cursor, RELAY_TRIES):
                places = asyncio.Semaphore(_HOSTS_AT_ONCE)
                async with Group() as group:
                    for host in page.hosts:
                        group.create_task(self._crawl_host(host, places))
                if page.cursor is not None:
                    await self._save(cursor=page.cursor)
        except InvalidInputError as error:
            log.info("%s lists no hosts: %s", relay, error)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        await self._save(stage=CrawlStage.ENDING, cursor=None)

    async def _crawl_host(self, host: ListedHost, places: asyncio.Semaphore) -> None:
        async with places:
            async for page in self._pages_of(host):
                await self._file(page)
            self._note(hosts_done=self.progress.hosts_done + 1)

    async def _pages_of(self, host: ListedHost) -> AsyncIterator[RepoPage]:
        """A host's own list, as far as it can be had. What goes wrong with a page behind that is not the host's."""
        if host.banned:
            return
        left, empty = 2 * (host.accounts or 0) + _SPARE_REPOS, 0
        try:
            async for page in self._tools.lists.repos(self._tools.host_origin(host.hostname), None, HOST_TRIES):
                left -= len(page.repos)
                empty += not page.repos
                if left < 0 or empty > _EMPTY_PAGES:
                    log.warning("%s lists more than its relay knows; the rest is left out", host.hostname[:100])
                    return
                yield page
        except (TransientError, InvalidInputError) as error:
            metrics.HOSTS_FAILED.inc()
            log.warning("%s cannot be listed: %s", host.hostname[:100], error)
            self._note(hosts_failed=self.progress.hosts_failed + 1)

    async def _file(self, page: RepoPage) -> None:
        """File what is wanted of a page and new, when there is room for it."""
        wanted = await self._followed([repo for repo in page.repos if self._is_wanted(repo)])
        left = wanted
        while left:
            async with self._one_files:
                room = await self._room()
                part, left = left[:room], left[room:]
                seqs = await asyncio.gather(*(self._tools.filing.file(repo.did, self._scope) for repo in part))
            metrics.FILED.labels(self._scope.lane.value).inc(len(part))
            self._seen.update(repo.did for repo in part)
            self._note(
                filed=self.progress.filed + len(part),
                request_seq=max(self.progress.request_seq, *seqs),
            )
        skipped = len(page.repos) - len(wanted)
        metrics.LISTED.labels("wanted").inc(len(wanted))
        metrics.LISTED.labels("skipped").inc(skipped)
        metrics.LISTED.labels("malformed").inc(page.malformed)
        self._note(
            listed=self.progress.listed + len(page.repos),
            skipped=self.progress.skipped + skipped,
            malformed=self.progress.malformed + page.malformed,
        )

    def _is_wanted(self, repo: ListedRepo) -> bool:
        return (
            is_wanted(repo, self._scope.cutoff_us)
            and repo.did not in self._tools.excluded
            and repo.did not in self._seen
        )

    async def _followed(self, repos: list[ListedRepo]) -> list[ListedRepo]:
        if not repos:
            return repos
        known = await self._tools.table.standings([repo.did for repo in repos])
        followed = {one.did for one in known.standings if one.followed}
        return repos if known.follows_all else [repo for repo in repos if repo.did in followed]

    async def _room(self) -> int:
        """How many requests may be filed now, at least one."""
        while (waiting := await self._tools.filing.waiting(self._scope.lane)) >= self._tools.max_waiting:
            await self._save(waiting=waiting)
            await asyncio.sleep(_LOOK_SECONDS)
        self._note(waiting=waiting)
        return min(_FILED_AT_ONCE, self._tools.max_waiting - waiting)

    async def _see_the_end(self) -> None:
        lane = self._scope.lane
        while not await self._tools.filing.have_ended(lane, self.progress.request_seq):
            await self._save(waiting=await self._tools.filing.waiting(lane))
            await asyncio.sleep(_LOOK_SECONDS)
        await self._save(waiting=0)

    def _note(self, **changes: Any) -> None:
        self.progress = self.progress.model_copy(update=changes)

    async def _save(self, **changes: Any) -> None:
        now = now_us()
        progress = self.progress.model_copy(update=changes | {"updated_at_us": now})
        seconds = max((now - progress.started_at_us) / 1e6, 1e-3)
        rate = progress.listed / seconds
        ended = max(progress.filed - progress.waiting, 0) / seconds
        unlisted = max((progress.total or progress.listed) - progress.listed, 0)
        left = None
        if rate and (ended or not progress.waiting) and progress.total is not None:
            left = unlisted / rate + (progress.waiting / ended if ended else 0.0)
        self.progress = progress.model_copy(update={"repos_per_second": rate, "seconds_left": left})
        done = progress.listed / progress.total if progress.total else None
        if done is not None and progress.filed:
            done = min(done, 1.0) * (1 - progress.waiting / progress.filed)
        metrics.tell_progress("gaps" if progress.gap_ids else "crawl", done, left)
        await self._tools.store.put_crawl(self.progress)
