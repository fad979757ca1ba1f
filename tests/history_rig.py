"""A rig for tests of the firehose's historical part: the crawl on a simulated network, with the bus of the test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from nats.aio.client import Client
from nats.aio.msg import Msg

from backfill_rig import Rig, rig
from firehose_backfill.crawl import CrawlTools
from firehose_backfill.filing import Filing
from firehose_backfill.history import History
from firehose_backfill.listing_client import ListingClient
from firehose_backfill.outcomes import Outcomes
from firehose_backfill.statuses import Statuses
from firehose_backfill.table import Table
from headwater.bus.firehose import FirehosePlan, LiveProgress, PieceState, live_key, new_plan
from headwater.bus.firehose_store import FirehoseStore
from headwater.bus.jobs import BackfillRequest
from headwater.bus.publish import Publisher
from headwater.bus.queries import FollowedPage, FollowedQuery, Standing, Standings, StandingsQuery
from headwater.bus.round_trip import round_trip
from headwater.bus.streams import BUCKET_CONTROL, BUCKET_FIREHOSE, STREAM_REQUESTS
from headwater.bus.subjects import FOLLOWED, STANDINGS
from headwater.cancelling import cancel_and_wait
from headwater.clock import now_us
from headwater.dns_lookup import DnsLookup
from headwater.egress import egress_policy
from headwater.http import GuardedHttp
from headwater.identity import IdentityResolver
from simulator.account import Account
from simulator.world import World

OLD_DAYS = 40


class NoWindow:
    """In the replay's place: a relay that holds nothing of the past."""

    def __init__(self, store: FirehoseStore) -> None:
        self._store = store
        self.reaches_cutoff = False

    async def run(self, plan: FirehosePlan) -> None:
        replay = await self._store.replay()
        assert replay is not None
        changes = {"state": PieceState.RUNNING, "reaches_cutoff": self.reaches_cutoff}
        await self._store.put_replay(replay.model_copy(update=changes))


class TableStandIn:
    """Answers for the indexer how the table has accounts: as the test says, and by default it knows nobody."""

    def __init__(self) -> None:
        self.known: dict[str, Standing] = {}
        self.follows_all = True

    async def start(self, client: Client) -> None:
        await client.subscribe(STANDINGS, cb=self._standings)
        await client.subscribe(FOLLOWED, cb=self._followed)
        await round_trip(client)

    async def _standings(self, message: Msg) -> None:
        asked = StandingsQuery.model_validate_json(message.data)
        found = [self.known[did] for did in asked.dids if did in self.known]
        answer = Standings(standings=found, follows_all=self.follows_all)
        await message.respond(answer.model_dump_json().encode())

    async def _followed(self, message: Msg) -> None:
        asked = FollowedQuery.model_validate_json(message.data)
        followed = [one.did for one in self.known.values() if one.followed and one.status == "active"]
        page = FollowedPage(dids=sorted(did for did in followed if did > asked.after)[: asked.limit])
        await message.respond(page.model_dump_json().encode())

    def has(self, did: str, status: str = "active", *, followed: bool = True) -> None:
        """The table has this account."""
        self.known[did] = Standing(did=did, status=status, followed=followed)


@dataclass
class HistoryRig:
    """The bus, the store on it, and what crawls need."""

    bus: Rig
    store: FirehoseStore
    tools: CrawlTools
    replay: NoWindow
    table: TableStandIn
    statuses: Callable[[Collection[str]], Statuses]

    @asynccontextmanager
    async def working(self, excluded: Collection[str] = (), **tools: object) -> AsyncIterator[None]:
        """The historical part at work, as in one process; leaving is its death."""
        history = History(
            self.bus.js,
            self.store,
            self.replay,
            replace(self.tools, excluded=excluded, **tools),
            Outcomes(self.bus.jobs),  # type: ignore[arg-type]
            self.statuses(excluded),
        )
        task = asyncio.create_task(history.run())
        try:
            yield
        finally:
            await cancel_and_wait([task])
        assert task.cancelled(), task.exception()

    async def live_tail_began(self, worker_id: int = 0, worker_count: int = 1) -> None:
        tail = LiveProgress(worker_id=worker_id, worker_count=worker_count, relay="r", connected=True)
        await (await self.bus.js.key_value(BUCKET_FIREHOSE)).put(live_key(worker_id), tail.model_dump_json().encode())

    async def filed(self) -> dict[str, BackfillRequest]:
        """What waits in REQUESTS, by DID."""
        found: dict[str, BackfillRequest] = {}
        state = (await self.bus.js.stream_info(STREAM_REQUESTS)).state
        for seq in range(state.first_seq, state.last_seq + 1) if state.messages else ():
            message = await self.bus.js.get_msg(STREAM_REQUESTS, seq)
            request = BackfillRequest.model_validate_json(message.data or b"")
            found[request.did] = request
        return found


@asynccontextmanager
async def history_rig(url: str, world: World) -> AsyncIterator[HistoryRig]:
    policy = egress_policy(allow_private_hosts=True)
    async with rig(url) as bus, GuardedHttp(policy) as http:
        store = FirehoseStore(await bus.js.key_value(BUCKET_CONTROL), await bus.js.key_value(BUCKET_FIREHOSE))
        table, stand_in = Table(bus.client), TableStandIn()
        await stand_in.start(bus.client)
        tools = CrawlTools(
            lists=ListingClient(http),
            filing=Filing(bus.js),
            table=table,
            store=store,
            relays=[world.relay.url],
            host_origin=lambda hostname: f"http://{hostname}",
            excluded=frozenset(),
            max_waiting=1_000,
        )
        resolver = IdentityResolver(http, world.plc.url, DnsLookup())

        async def pds_of(did: str) -> str | None:
            return (await resolver.resolve_did(did, refresh=True)).pds

        statuses = partial(Statuses, table, Publisher(bus.js, bus.client.max_payload), http, pds_of)
        yield HistoryRig(bus, store, tools, NoWindow(store), stand_in, statuses)


def half_old_world() -> World:
    """Five accounts: written to 40 days ago, the last two also today; one is not in the relay's list."""
    world = World(seed=77, now_us=int(time.time() - OLD_DAYS * 86_400) * 1_000_000, hosts=3)
    for index in range(5):
        world.add_account(host=world.hosts[index % 2]).create("app.bsky.feed.post", {"text": f"old {index}"})
    world.clock.advance(int((OLD_DAYS - 0.1) * 86_400))
    for account in world.accounts[3:]:
        account.create("app.bsky.feed.post", {"text": "new"})
    hidden = world.add_account("hidden.sim.test", host=world.hosts[2])
    hidden.create("app.bsky.feed.post", {"text": "not in the relay's list"})
    world.relay.unlisted_hosts.add(world.hosts[2].name)
    return world


async def ask(history: HistoryRig, days: int) -> str:
    _, revision = await history.store.plan()
    asked = new_plan(days, now_us(), "operator")
    assert await history.store.change_plan(asked, revision)
    return asked.plan_id


def dids(*accounts: Account) -> set[str]:
    return {account.did for account in accounts}
