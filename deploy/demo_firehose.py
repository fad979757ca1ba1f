"""The demo's second part: everybody's history by replay and crawl, live writes, and a gap that is closed."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import asyncpg
from rich.console import Console

from headwater.clock import now_us
from headwater_local.errors import StackError
from headwater_local.firehose_tables import firehose_tables
from headwater_local.gateway import open_gateway
from headwater_local.settings import RunnerSettings

_SECONDS = 90.0
_COUNT = "SELECT did, count(*) AS records FROM record GROUP BY did"
_WINDOW = 30


class Levers:
    """The simulated network's control API (tests/simulator/control.py)."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/_sim/"

    def pull(self, lever: str, **body: Any) -> None:
        """Do something to the network."""
        request = urllib.request.Request(  # noqa: S310 (our own simulator)
            self._url + lever, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310

    def post(self, did: str, text: str, number: int) -> None:
        """So many posts of an account, a commit each."""
        for _ in range(number):
            key = {"collection": "app.bsky.feed.post", "rkey": f"demo-{time.time_ns()}"}
            write = {"action": "create", **key, "record": _post(text)}
            self.pull("write", did=did, writes=[write])

    def records(self, did: str) -> int:
        """How many records an account has."""
        with urllib.request.urlopen(f"{self._url}counts?did={did}", timeout=30) as answer:  # noqa: S310
            return sum(json.load(answer).values())


def _post(text: str) -> dict[str, str]:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - 60))
    return {"$type": "app.bsky.feed.post", "text": text, "createdAt": moment}


def prepare(network: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> None:
    """Before the stack starts: more posts than the relay keeps, so that some history lies before its window."""
    levers = Levers(network["control_url"])
    for account in others:
        levers.post(account["did"], "before anybody listened", 20)
    levers.pull("firehose", of="relay", do="set", keep_events=_WINDOW)


def show(
    settings: RunnerSettings,
    network: Mapping[str, Any],
    others: Sequence[Mapping[str, Any]],
    database_url: str,
    console: Console,
) -> None:
    """Ask for everybody's history, write live, make a gap; every account's rows are counted at the end."""
    levers = Levers(network["control_url"])
    dids = [account["did"] for account in network["accounts"]]
    console.print(f"\nEverybody's history: {len(others)} more accounts; the relay holds {_WINDOW} events ...")
    asyncio.run(_ask(settings, -1))
    asyncio.run(_until(settings, lambda told: told["history"] == "done", "the history does not end"))
    console.print("Live writes ...")
    levers.post(others[0]["did"], "live", 10)
    console.print("A gap: the relay goes away, and comes back without what happened meanwhile ...")
    levers.pull("stop", of="relay")
    levers.post(others[1]["did"], "told to nobody", 5)
    levers.pull("firehose", of="relay", do="set", keep_events=1)
    levers.post(others[0]["did"], "behind the gap", 1)
    levers.pull("start", of="relay")
    told = asyncio.run(_until(settings, _gap_is_closed, "the gap is not closed"))
    asyncio.run(_same(database_url, {did: levers.records(did) for did in dids}))
    for table in firehose_tables(told, now_us()):
        console.print(table)
    console.print(f"all {len(dids)} accounts have in Postgres what they have on their PDS")


def _gap_is_closed(told: Mapping[str, Any]) -> bool:
    return bool(told["gaps"]) and all(gap["state"] == "closed" for gap in told["gaps"])


async def _ask(settings: RunnerSettings, days: int) -> None:
    async with open_gateway(settings) as gateway:
        await gateway.change_firehose("backfill", days=days)


async def _until(settings: RunnerSettings, holds: Callable[[Mapping[str, Any]], bool], otherwise: str) -> Any:
    async with open_gateway(settings) as gateway:
        deadline = time.monotonic() + _SECONDS
        while not holds(told := await gateway.firehose()):
            if time.monotonic() > deadline:
                raise StackError(otherwise)
            await asyncio.sleep(0.25)
        return told


async def _same(database_url: str, expected: Mapping[str, int]) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        deadline = time.monotonic() + _SECONDS
        while (found := {row["did"]: row["records"] for row in await connection.fetch(_COUNT)}) != expected:
            if time.monotonic() > deadline:
                raise StackError(f"Postgres has {found}, the network {expected}")
            await asyncio.sleep(0.25)
    finally:
        await connection.close()
