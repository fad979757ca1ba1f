"""The simulator's levers, as another process pulls them."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simulator import (
    World,
    dagcbor,
)
from simulator.control import ControlHost
from simulator.dagcbor import cid_text
from simulator.tid import tid_us
from simulator_client import get_body, get_json

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


@asynccontextmanager
async def simulator(*arguments: str) -> AsyncIterator[dict[str, Any]]:
    """A simulator in a process of its own, as it describes itself."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator", *arguments, cwd=TESTS, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    finally:
        process.terminate()
        assert await process.wait() == 0


async def test_the_levers_work_from_another_process(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    async with simulator("--accounts", "2", "--records", "30", "--hosts", "2", "--odd") as described:
        assert len(described["accounts"]) == len(described["pds_urls"]) == 2
        did, base = described["accounts"][0]["did"], f"{described['control_url']}/_sim/"
        _, before = await get_json(client, f"{base}counts?did={did}")
        linked = {"ref": {"$link": cid_text(dagcbor.cid_of(b"x"))}, "raw": {"$bytes": "AAE"}}
        write = {"action": "create", "collection": "com.example.new", "rkey": "a", "record": linked}
        async with client.post(base + "write", json={"did": did, "writes": [write]}) as response:
            assert response.status == 200
        _, after = await get_json(client, f"{base}counts?did={did}")
        assert after == before | {"com.example.new": 1}
        lines = (await get_body(client, f"{base}listing?did={did}&values=1")).splitlines()
        found = {(row["collection"], row["rkey"]): row for row in map(json.loads, lines)}
        assert len(found) == sum(after.values())
        assert found["com.example.new", "a"]["value"] == linked
        async with client.post(base + "fault", json={"did": did, "kind": "Answer", "status": 503}) as response:
            assert response.status == 200
        repo = f"{described['pds_urls'][0]}/xrpc/com.atproto.sync.getRepo?did={did}"
        async with client.get(repo) as response:
            assert response.status == 503
        assert len(await get_body(client, repo)) > 1000
        _, seen = await get_json(client, f"{base}requests?pds=0")
        assert [request["params"] for request in seen] == [{"did": did}] * 2


async def test_a_world_to_be_looked_at_keeps_the_true_time(client: aiohttp.ClientSession) -> None:
    async with simulator("--recent", "--live", "--quiet", "1", "--accounts", "1", "--records", "5") as described:
        quiet, recent = (account["did"] for account in described["accounts"])
        commit = f"{described['pds_urls'][0]}/xrpc/com.atproto.sync.getLatestCommit?did="

        async def hours_ago(did: str) -> float:
            _, head = await get_json(client, commit + did)
            return (time.time() - tid_us(head["rev"]) / 1e6) / 3600

        assert await hours_ago(quiet) > 99 * 24
        assert 0.9 < await hours_ago(recent) < 2
        write = {"action": "create", "collection": "com.example.new", "rkey": "a", "record": {}}
        lever = f"{described['control_url']}/_sim/write"
        async with client.post(lever, json={"did": quiet, "writes": [write]}) as response:
            assert response.status == 200
        assert await hours_ago(quiet) < 0.1


async def test_a_lever_pulled_wrongly_says_why(client: aiohttp.ClientSession) -> None:
    async with World(1) as world:
        control = ControlHost(world)
        await control.start()
        wrong = {"did": "did:plc:none", "writes": []}
        try:
            async with client.post(f"{control.url}/_sim/write", json=wrong) as response:
                assert response.status == 400
                assert (await response.json())["error"] == "KeyError"
        finally:
            await control.close()
