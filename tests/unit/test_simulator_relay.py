"""The simulated firehoses: cursors, windows, seqs, consumers, and what a relay can do wrong, over real websockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from headwater.frame_reader import parse_frame
from headwater.frames import CommitFrame, ErrorFrame, InfoFrame, UnknownFrame
from simulator import Account, ExpectedRepo, Relay, World
from simulator.control import ControlHost
from simulator.host import Host
from simulator.tid import tid_us

SUBSCRIBE = "/xrpc/com.atproto.sync.subscribeRepos"
PATIENCE_S = 60.0
#: aiohttp warns of websockets that are left to the garbage collector.
_OPENED: list[aiohttp.ClientWebSocketResponse] = []


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World(1, hosts=2) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
        while _OPENED:
            await _OPENED.pop().close()


@pytest.fixture
def alice(world: World) -> Account:
    return world.add_account()


class Listener:
    """A consumer of a firehose."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket

    async def next(self) -> Any:
        """The next frame; None once the connection is closed."""
        message = await self.websocket.receive(PATIENCE_S)
        if message.type is WSMsgType.TEXT:
            return message.data
        return parse_frame(message.data) if message.type is WSMsgType.BINARY else None

    async def seqs(self, count: int) -> list[int]:
        return [(await self.next()).seq for _ in range(count)]


async def listen(client: aiohttp.ClientSession, host: Host, cursor: int | None = None) -> Listener:
    at = "" if cursor is None else f"?cursor={cursor}"
    return Listener(await connect(client, host, at))


async def connect(client: aiohttp.ClientSession, host: Host, at: str = "") -> aiohttp.ClientWebSocketResponse:
    websocket = await client.ws_connect(f"{host.url}{SUBSCRIBE}{at}", max_msg_size=0)
    _OPENED.append(websocket)
    return websocket


async def get_json(client: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    async with client.get(url) as response:
        return response.status, await response.json()


async def test_without_a_cursor_the_stream_begins_now(
    world: World, alice: Account, client: aiohttp.ClientSession
) -> None:
    live = await listen(client, world.relay)
    everything = await listen(client, world.relay, 0)
    alice.post("now")
    assert (await live.next()).rev == alice.repo.rev
    assert await everything.seqs(5) == [1, 2, 3, 4, 5]
    assert world.relay.subscriptions.connected == 2


async def test_a_cursor_is_the_last_seq_that_was_seen(
    world: World, alice: Account, client: aiohttp.ClientSession
) -> None:
    alice.post("one")
    listener = await listen(client, world.relay, 3)
    assert await listener.seqs(2) == [4, 5]
    alice.post("two")
    assert await listener.seqs(1) == [6]
    status, body = await get_json(client, f"{world.relay.url}{SUBSCRIBE}?cursor=yesterday")
    assert (status, body["error"]) == (400, "InvalidRequest")


async def test_every_host_has_its_own_seqs(world: World, client: aiohttp.ClientSession) -> None:
    one, other = world.add_account(), world.add_account()
    second = world.add_relay(first_seq=9_000_000)
    await second.start()
    second.unseen.add(one.did)
    for account in (one, other, one):
        account.post("hello")
    revs = {}
    for host in (*world.hosts, *world.relays):
        listener = await listen(client, host, 0)
        told = [await listener.next() for _ in range(len(host.stream))]
        revs[host.name] = [(frame.seq, frame.did) for frame in told if isinstance(frame, CommitFrame)]
    assert [seq for seq, _ in revs["relay"]] == [3, 7, 9, 10, 11]
    assert revs["pds0"] == [(3, one.did), (5, one.did), (6, one.did)]
    assert revs["pds1"] == [(3, other.did), (5, other.did)]
    assert revs["relay1"] == [(9_000_000, other.did)]


@pytest.mark.parametrize("says", [True, False])
async def test_a_cursor_older_than_the_window(
    world: World, alice: Account, client: aiohttp.ClientSession, says: bool
) -> None:
    stream = world.relay.stream
    stream.keep_events, stream.says_outdated = 3, says
    for number in range(6):
        alice.post(f"{number}")
    assert (len(stream), stream.first_seq, stream.last_seq) == (3, 8, 10)
    outdated = await listen(client, world.relay, 6)
    if says:
        first = await outdated.next()
        assert isinstance(first, InfoFrame)
        assert first.name == "OutdatedCursor"
    assert await outdated.seqs(3) == [8, 9, 10]
    for cursor in (7, 0):
        assert await (await listen(client, world.relay, cursor)).seqs(3) == [8, 9, 10]


async def test_the_window_is_one_of_the_worlds_time(
    world: World, alice: Account, client: aiohttp.ClientSession
) -> None:
    stream = world.relay.stream
    stream.keep_seconds = 3 * 86_400 + 3600
    for day in range(5):
        alice.post(f"of day {day}")
        world.clock.advance(86_400)
    assert (stream.first_seq, len(stream)) == (7, 3)
    world.clock.advance(30 * 86_400)
    assert len(stream) == 0
    # All that there was is forgotten, and a cursor from before is outdated all the same.
    listener = await listen(client, world.relay, 8)
    assert isinstance(await listener.next(), InfoFrame)
    alice.post("later")
    assert await listener.seqs(1) == [10]


@pytest.mark.parametrize("says", [True, False])
async def test_a_cursor_of_the_future(world: World, alice: Account, client: aiohttp.ClientSession, says: bool) -> None:
    world.relay.stream.says_future = says
    listener = await listen(client, world.relay, 1000)
    if says:
        refused = await listener.next()
        assert isinstance(refused, ErrorFrame)
        assert refused.error == "FutureCursor"
        assert await listener.next() is None
    else:
        alice.post("now")
        assert await listener.seqs(1) == [5]


async def test_consumers_are_disconnected_and_come_back(
    world: World, alice: Account, client: aiohttp.ClientSession
) -> None:
    listener = await listen(client, world.relay)
    world.relay.stream.disconnect()
    assert await listener.next() is None
    alice.post("missed")
    assert await (await listen(client, world.relay, 4)).seqs(1) == [5]
    await world.relay.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await listen(client, world.relay, 4)
    await world.relay.start()
    assert await (await listen(client, world.relay, 4)).seqs(1) == [5]


async def test_a_slow_consumer_is_closed_with_a_reason(
    world: World, alice: Account, client: aiohttp.ClientSession
) -> None:
    world.relay.stream.queue = 20
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", world.relay.port))
    follower = await listen(client, world.relay)
    reader, writer = await asyncio.open_connection(sock=connection)
    writer.write(
        f"GET {SUBSCRIBE} HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    for number in range(60):
        alice.create("com.example.large", {"$type": "com.example.large", "pad": bytes([number]) * 100_000})
        # The one who reads is not disturbed by the one who does not.
        assert (await follower.next()).rev == alice.repo.rev
    received = await asyncio.wait_for(reader.read(-1), PATIENCE_S)
    assert b"ConsumerTooSlow" in received
    assert len(received) < 60 * 100_000
    assert world.relay.subscriptions.too_slow == 1
    writer.close()


async def test_hidden_repeated_and_swapped_events(world: World, alice: Account, client: aiohttp.ClientSession) -> None:
    listener = await listen(client, world.relay)
    stream = world.relay.stream
    stream.tamper("hide", alice.did)
    alice.post("hidden")
    alice.post("after it")
    told = await listener.next()
    # Nobody sees from the seq that an event is missing; the chain of the repo shows it.
    assert (told.seq, told.since) == (5, alice.commits.carried(told.rev).since)
    stream.tamper("repeat")
    alice.post("twice")
    assert await listener.seqs(2) == [6, 6]
    stream.tamper("swap")
    alice.post("first")
    alice.post("second")
    second, first = await listener.next(), await listener.next()
    assert (second.seq, first.seq, second.since) == (8, 7, first.rev)
    stream.repeat(3)
    assert await listener.seqs(3) == [6, 8, 7]
    stream.tamper("hide", times=None)
    alice.post("never heard of")
    stream.heal()
    alice.post("heard of")
    assert (await listener.next()).rev == alice.repo.rev
    with pytest.raises(KeyError):
        stream.tamper("nonsense")


async def test_seqs_jump_and_begin_anew(world: World, alice: Account, client: aiohttp.ClientSession) -> None:
    listener = await listen(client, world.relay)
    world.relay.stream.jump(1000)
    alice.post("ahead")
    assert await listener.seqs(1) == [1005]
    world.relay.stream.restart(77)
    assert await listener.next() is None
    alice.post("anew")
    assert await (await listen(client, world.relay, 0)).seqs(1) == [77]


async def test_junk_is_sent_as_it_is(world: World, alice: Account, client: aiohttp.ClientSession) -> None:
    stream = world.relay.stream
    raw = await connect(client, world.relay)
    for kind in ("malformed", "empty", "header_only", "no_fields", "text", "oversize"):
        stream.junk(kind)
    received = [await raw.receive(PATIENCE_S) for _ in range(6)]
    assert [message.type is WSMsgType.TEXT for message in received] == [False] * 4 + [True, False]
    assert len(received[-1].data) > 5_000_000
    listener = await listen(client, world.relay)
    for kind in ("unknown_type", "unknown_op", "info", "error"):
        stream.junk(kind)
    strange = [await listener.next() for _ in range(5)]
    assert [type(frame) for frame in strange] == [UnknownFrame, UnknownFrame, InfoFrame, ErrorFrame, type(None)]
    # Who comes back is not sent away by the same error.
    alice.post("after the error")
    assert (await (await listen(client, world.relay, stream.last_seq - 2)).next()).seq == stream.last_seq
    with pytest.raises(KeyError):
        stream.junk("nonsense")


async def test_a_relay_lists_repos_and_hosts(world: World, client: aiohttp.ClientSession) -> None:
    accounts = [world.add_account() for _ in range(6)]
    accounts[2].status = "takendown"
    accounts[3].status = "deleted"
    base = f"{world.relay.url}/xrpc/com.atproto.sync."

    async def listed(relay: Relay) -> list[str]:
        seen, cursor = [], ""
        while True:
            url = f"{relay.url}/xrpc/com.atproto.sync.listRepos?limit=2&cursor={cursor}"
            _, page = await get_json(client, url)
            seen += [repo["did"] for repo in page["repos"]]
            cursor = page.get("cursor", "")
            if not cursor:
                return seen

    everyone = sorted(account.did for account in accounts if account.status != "deleted")
    assert await listed(world.relay) == everyone
    world.relay.unlisted_hosts.add("pds0")
    assert await listed(world.relay) == sorted({accounts[1].did, accounts[5].did})
    world.relay.unseen.add(accounts[1].did)
    assert await listed(world.relay) == [accounts[5].did]
    _, page = await get_json(client, f"{base}listHosts?limit=1")
    _, rest = await get_json(client, f"{base}listHosts?limit=1&cursor={page['cursor']}")
    assert [host["hostname"] for host in page["hosts"] + rest["hosts"]] == [
        host.url.removeprefix("http://") for host in world.hosts
    ]
    assert "cursor" not in rest
    name = page["hosts"][0]["hostname"]
    assert await get_json(client, f"{base}getHostStatus?hostname={name}") == (200, page["hosts"][0])
    assert page["hosts"][0]["seq"] == world.hosts[0].stream.last_seq
    assert (await get_json(client, f"{base}getHostStatus?hostname=elsewhere"))[1]["error"] == "HostNotFound"
    for account, answer in ((accounts[0], {"active": True, "rev": accounts[0].repo.rev}), (accounts[1], None)):
        _, body = await get_json(client, f"{base}getRepoStatus?did={account.did}")
        assert body == ({"did": account.did} | answer if answer else body)
        assert body.get("error") == (None if answer else "RepoNotFound")
    assert (await get_json(client, f"{base}getRepoStatus?did={accounts[2].did}"))[1]["status"] == "takendown"
    assert (await get_json(client, f"{base}getLatestCommit?did={accounts[0].did}"))[1]["rev"] == accounts[0].repo.rev


async def test_the_firehoses_have_levers_for_other_processes(
    world: World, alice: Account, client: aiohttp.ClientSession
) -> None:
    control = ControlHost(world)
    await control.start()

    async def pull(lever: str, **asked: Any) -> Any:
        async with client.post(f"{control.url}/_sim/{lever}", json=asked) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    try:
        described = (await get_json(client, f"{control.url}/_sim/world"))[1]
        assert described["relay_url"] == world.relay.url
        second = await pull("relay", first_seq=500)
        listener = await listen(client, world.relay)
        other = await listen(client, world.host(second["name"]))
        await pull("firehose", of="relay", do="set", keep_events=2, unseen=[alice.did])
        await pull("sync", did=alice.did)
        assert await other.seqs(1) == [500]
        await pull("firehose", of="relay", do="set", unseen=[])
        await pull("firehose", of="relay", do="tamper", kind="too_big", did=alice.did)
        now_us = (await pull("clock", advance=3600))["now_us"]
        rev = alice.repo.rev
        alice.post("too big")
        frame = await listener.next()
        assert frame.too_big
        assert frame.since == rev
        assert tid_us(frame.rev) > now_us
        async with client.post(f"{control.url}/_sim/clock", json={"now_us": now_us}) as response:
            assert response.status == 400
        for do, argument in (("jump", {"by": 10}), ("junk", {"kind": "unknown_type"}), ("repeat", {"count": 1})):
            await pull("firehose", of="relay", do=do, **argument)
        assert await listener.seqs(2) == [16, 16]
        state = await pull("firehose", of="relay", do="restart", first_seq=3)
        assert (state["first_seq"], state["last_seq"], state["messages"], state["accepted"]) == (None, 2, 0, 1)
        assert await listener.next() is None
        await pull("stop", of="relay")
        with pytest.raises(aiohttp.ClientConnectionError):
            await listen(client, world.relay)
        await pull("start", of="relay")
        alice.post("again")
        assert await (await listen(client, world.relay, 0)).seqs(1) == [3]
        alice.status = "suspended"
        async with client.get(f"{control.url}/_sim/expected") as response:
            (line,) = (await response.text()).splitlines()
        assert ExpectedRepo.from_line(json.loads(line)) == world.expected()[alice.did]
        async with client.post(f"{control.url}/_sim/firehose", json={"of": "relay", "do": "dance"}) as response:
            assert response.status == 400
    finally:
        await control.close()
