"""The demo's second part: everybody's history by replay and crawl, live writes, and a gap that is closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
from demo_network import WINDOW, Network
from rich.console import Console

from headwater_local.errors import StackError
from headwater_local.gateway import open_gateway
from headwater_local.settings import RunnerSettings

DAYS = 30
_SECONDS = 180.0
_COUNT = "SELECT did, count(*) AS records FROM record GROUP BY did"

Told = Mapping[str, Any]


class Everybody:
    """What happens to all accounts of the network, told on a console."""

    def __init__(self, settings: RunnerSettings, network: Network, database_url: str, console: Console) -> None:
        self._settings = settings
        self._network = network
        self._database_url = database_url
        self._console = console

    def history(self) -> None:
        """Ask for the last days of everybody."""
        self._say(
            f"The relay remembers no more than its last {WINDOW} events. They are replayed; what was before comes"
        )
        self._say("from the PDSes, of every account that has written something in these days.")
        asyncio.run(self._ask_for(DAYS))
        told = self._until(lambda told: told["history"] == "done", "the history does not end")
        self._compare()
        self._say(
            f"[green]done:[/] {told['replay']['events']} events replayed, {told['crawl']['filed']} repos looked through"
        )

    def live(self) -> None:
        """Write while the stack listens."""
        self._network.post(self._network.others[0], "live", 10)
        self._compare()
        self._say("[green]done:[/] 10 posts were written, and are in Postgres")

    def gap(self) -> None:
        """Let the relay go away, and come back without what was written meanwhile."""
        self._say("The relay goes away, five posts are written, and when it is back, it has forgotten them.")
        missed, behind = self._network.others[1], self._network.others[0]
        self._network.pull("stop", of="relay")
        self._network.post(missed, "told to nobody", 5)
        self._network.pull("firehose", of="relay", do="set", keep_events=1)
        self._network.post(behind, "behind the gap")
        self._network.pull("start", of="relay")
        self._until(_gap_is_closed, "the gap is not closed")
        self._compare()
        self._say("[green]done:[/] the gap was noticed, and closed from the PDSes: all that they have is in Postgres")

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    async def _ask_for(self, days: int) -> None:
        async with open_gateway(self._settings) as gateway:
            await gateway.change_firehose("backfill", days=days)

    def _until(self, holds: Callable[[Told], bool], otherwise: str) -> Told:
        return asyncio.run(_until(self._settings, holds, otherwise))

    def _compare(self) -> None:
        """Wait until Postgres has of everybody what the PDSes have: all of whom was asked for, else the days asked."""
        cutoff_us = self._until(lambda told: told["plan"] is not None, "there is no plan")["plan"]["cutoff_us"]
        expected = {account.did: self._network.records(account) for account in self._network.asked}
        expected |= {account.did: self._network.records(account, cutoff_us) for account in self._network.others}
        asyncio.run(_until_same(self._database_url, expected))


def _gap_is_closed(told: Told) -> bool:
    return bool(told["gaps"]) and all(gap["state"] == "closed" for gap in told["gaps"])


async def _until(settings: RunnerSettings, holds: Callable[[Told], bool], otherwise: str) -> Told:
    async with open_gateway(settings) as gateway:
        deadline = time.monotonic() + _SECONDS
        while not holds(told := await gateway.firehose()):
            if time.monotonic() > deadline:
                raise StackError(otherwise)
            await asyncio.sleep(0.25)
        return told


async def _until_same(database_url: str, expected: Mapping[str, int]) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        deadline = time.monotonic() + _SECONDS
        while (found := {row["did"]: row["records"] for row in await connection.fetch(_COUNT)}) != expected:
            if time.monotonic() > deadline:
                raise StackError(f"Postgres has {found}, the network {expected}")
            await asyncio.sleep(0.25)
    finally:
        await connection.close()
