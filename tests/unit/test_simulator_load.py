"""The frames of the benchmarks are true ones, and are sent when they are due."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from firehose_backfill.verify import verify_commit
from headwater.frame_reader import parse_frame
from headwater.frames import CommitFrame
from headwater.keys import parse_multikey
from simulator.firehose_load import LoadRelay, Schedule
from simulator.load_frames import LoadFile, load_file

FRAMES, ACCOUNTS = 400, 8


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("load")


@pytest.fixture(scope="module")
def load(cache: Path) -> LoadFile:
    return load_file(cache, frames=FRAMES, accounts=ACCOUNTS)


@pytest.fixture
async def relay(load: LoadFile) -> AsyncIterator[LoadRelay]:
    relay = LoadRelay(load)
    await relay.start()
    yield relay
    await relay.close()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def frame(load: LoadFile, place: int) -> CommitFrame:
    parsed = parse_frame(load.message(place))
    assert isinstance(parsed, CommitFrame)
    return parsed


def test_every_frame_is_proven_and_continues_its_repo(load: LoadFile) -> None:
    keys = {one["did"]: parse_multikey(one["multibase"]) for one in load.accounts}
    assert len(load) == FRAMES
    assert len(keys) == ACCOUNTS
    roots: dict[str, str] = {}
    rows: set[tuple[str, str, str]] = set()
    collections = set[str]()
    for place in range(FRAMES):
        one = frame(load, place)
        assert one.seq == load.first_seq + place
        verified = verify_commit(one, keys[one.did], time.time_ns() // 1000, 1_000_000)
        assert not verified.refused
        live = verified.commit
        assert live.prev_data == roots.get(live.did, live.prev_data)
        roots[live.did] = live.data
        rows -= {(live.did, *key) for key in zip(live.delete.collection, live.delete.rkey, strict=True)}
        rows |= {(live.did, *key) for key in zip(live.put.collection, live.put.rkey, strict=True)}
        collections.update(live.put.collection)
        assert load.rows[place] == len(rows)
    assert len(collections) == 5
    assert 3000 < load.ends[-1] / FRAMES < 6000


def test_a_load_is_made_once(load: LoadFile, cache: Path) -> None:
    made = load.path.stat().st_mtime_ns
    again = load_file(cache, frames=FRAMES, accounts=ACCOUNTS)
    assert again == load
    assert load.path.stat().st_mtime_ns == made
    assert load_file(cache, frames=5, accounts=ACCOUNTS, seed=1).path != load.path


def test_frames_are_released_at_their_rate() -> None:
    schedule = Schedule(1000)
    assert schedule.released(time.time()) == 0
    schedule.start(100.0, 50)
    begun = schedule.started_at
    assert [schedule.released(begun + after) for after in (0.0, 0.105, 0.255, 9.0)] == [0, 10, 25, 50]
    schedule.started_at = 0.0
    schedule.start(None, None)
    assert schedule.released(time.time()) == 1000
    schedule.rewind()
    assert schedule.released(time.time()) == 0


async def test_released_frames_are_sent_as_they_are(
    relay: LoadRelay, load: LoadFile, client: aiohttp.ClientSession
) -> None:
    subscribe = f"{relay.url}/xrpc/com.atproto.sync.subscribeRepos"

    async def control(**asked: Any) -> Any:
        async with client.post(f"{relay.url}/_load", json=asked) as response:
            return await response.json()

    async def seqs(websocket: aiohttp.ClientWebSocketResponse, count: int) -> list[int]:
        frames = [parse_frame(await websocket.receive_bytes(timeout=60)) for _ in range(count)]
        return [one.seq for one in frames if isinstance(one, CommitFrame)]

    first = load.first_seq
    live = await client.ws_connect(subscribe)
    state = await control(count=100)
    assert (state["released"], state["rows"]) == (100, load.rows[99])
    assert await seqs(live, 100) == list(range(first, first + 100))
    late = await client.ws_connect(f"{subscribe}?cursor={first + 89}")
    assert await seqs(late, 10) == list(range(first + 90, first + 100))
    await control(rate=5000)
    assert await seqs(live, FRAMES - 100) == list(range(first + 100, first + FRAMES))
    async with client.get(f"{relay.url}/_load") as response:
        state = await response.json()
    assert (state["sent"], state["rows"], state["connected"]) == (FRAMES, load.rows[-1], 2)
    assert (await control(rewind=True))["released"] == 0
    assert await seqs(late, FRAMES - 100) == list(range(first + 100, first + FRAMES))
    for websocket in (live, late):
        assert (await websocket.receive(timeout=60)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        await websocket.close()


async def test_the_accounts_of_a_load_are_listed(
    relay: LoadRelay, load: LoadFile, client: aiohttp.ClientSession
) -> None:
    listed, cursor = [], "0"
    while cursor:
        async with client.get(f"{relay.url}/xrpc/com.atproto.sync.listRepos?limit=3&cursor={cursor}") as response:
            page = await response.json()
        listed += page["repos"]
        cursor = page.get("cursor")
    assert [(one["did"], one["rev"]) for one in listed] == [(one["did"], one["rev"]) for one in load.accounts]
    last = frame(load, FRAMES - 1)
    assert last.rev in {one["rev"] for one in listed}
