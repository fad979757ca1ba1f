"""The simulated network, a process of its own: accounts are made and their CARs built before anything is timed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from bench.simulator_process import simulator_process

HOSTS = 8
"""Repos are spread over so many PDSes; a single host would be asked more often than a polite client asks."""

_AT_ONCE = 16
_CHUNK_BYTES = 1 << 20
_PATIENCE = aiohttp.ClientTimeout(total=600)


class SimulatedNetwork:
    """The levers of a running simulator."""

    def __init__(self, pid: int, described: dict[str, Any], http: aiohttp.ClientSession) -> None:
        self.pid = pid
        self.plc_url: str = described["plc_url"]
        self._pds_urls: list[str] = described["pds_urls"]
        self._control = f"{described['control_url']}/_sim/"
        self._http = http

    async def account(self, records: int) -> str:
        """A new account with a history; its DID."""
        did: str = (await self._pull("account"))["did"]
        await self._pull("seed", did=did, records=records)
        return did

    async def accounts(self, count: int, records: int) -> list[str]:
        """Several of them."""
        return [await self.account(records) for _ in range(count)]

    async def change(self, did: str, share: float) -> None:
        """Replace a share of the account's records, in one commit."""
        await self._pull("seed", did=did, change=share)

    async def build_cars(self, dids: list[str]) -> None:
        """Ask for every CAR once: the simulator builds it then, and later only reads it."""
        places = asyncio.Semaphore(_AT_ONCE)

        async def build(did: str) -> None:
            async with places, self._car(did) as answer:
                async for _ in answer.content.iter_chunked(_CHUNK_BYTES):
                    pass

        await asyncio.gather(*map(build, dids))
        await self._pull("forget")

    async def record_count(self, did: str) -> int:
        """How many records the account has, by the simulator's own books."""
        async with self._http.get(f"{self._control}counts", params={"did": did}, timeout=_PATIENCE) as answer:
            answer.raise_for_status()
            return sum((await answer.json()).values())

    async def register(self, accounts: list[dict[str, str]], pds_url: str) -> None:
        """Put accounts (did, handle, multibase) of another network into the PLC directory."""
        keys = [{name: one[name] for name in ("did", "handle", "multibase")} for one in accounts]
        await self._pull("register", accounts=keys, pds_url=pds_url)

    async def forget_requests(self) -> None:
        """Empty the PDSes' logs."""
        await self._pull("forget")

    async def requests(self, did: str) -> list[str]:
        """The methods that the PDSes were asked for about this account."""
        asked = []
        for number in range(len(self._pds_urls)):
            async with self._http.get(f"{self._control}requests", params={"pds": number}) as answer:
                answer.raise_for_status()
                logged = [seen for seen in await answer.json() if seen["params"].get("did") == did]
            asked += [seen["path"].rpartition("/")[2] for seen in logged]
        return asked

    async def car(self, did: str) -> bytes:
        """The account's CAR."""
        async with self._car(did) as answer:
            return await answer.read()

    @asynccontextmanager
    async def _car(self, did: str) -> AsyncIterator[aiohttp.ClientResponse]:
        for url in self._pds_urls:
            method = f"{url}/xrpc/com.atproto.sync.getRepo"
            async with self._http.get(method, params={"did": did}, timeout=_PATIENCE) as answer:
                if answer.status == HTTPStatus.OK:
                    yield answer
                    return
        raise LookupError(f"no PDS has {did}")

    async def _pull(self, lever: str, **arguments: object) -> Any:
        async with self._http.post(f"{self._control}{lever}", json=arguments, timeout=_PATIENCE) as answer:
            answer.raise_for_status()
            return await answer.json()


@asynccontextmanager
async def simulated_network(cache: Path) -> AsyncIterator[SimulatedNetwork]:
    """Run a simulator without accounts; large repos are kept in ``cache`` from one run to the next."""
    numbers = ["--accounts", "0", "--hosts", str(HOSTS), "--cache", str(cache)]
    with simulator_process("simulator", *numbers) as (pid, described):
        async with aiohttp.ClientSession() as http:
            yield SimulatedNetwork(pid, described, http)
