"""A whole AT Protocol network on loopback: the same one for the same seed.

    async with World(seed=1) as world:
        alice = world.add_account()
        alice.seed_records(1000)
        ...  # point PLC_URL at world.plc.url
        assert rows == alice.expected()

DIDs, keys, records and revs repeat exactly; ports do not, and with them the DIDs of did:web.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Literal

from .account import Account
from .events import Event
from .expect import ExpectedRepo
from .host import Host
from .pds import Pds
from .plc import PlcDirectory, WebDidHost
from .records import did_plc
from .relay import Relay
from .tid import DEFAULT_NOW_US, Clock

_NAMES = "alice bob carla dan erin frank grace heidi ivan judy karl lena mallory nora oscar peggy rupert sybil trent"


class Handles(Mapping[str, Account]):
    """Who has which handle now; accounts can be renamed at any time."""

    def __init__(self, accounts: list[Account]) -> None:
        self._accounts = accounts
        self._seen: dict[str, Account] = {}

    def __getitem__(self, handle: str) -> Account:
        known = self._seen.get(handle)
        if known is None or known.handle != handle:
            self._seen = {account.handle: account for account in self._accounts if account.status != "deleted"}
        return self._seen[handle]

    def __iter__(self) -> Iterator[str]:
        return (account.handle for account in self._accounts)

    def __len__(self) -> int:
        return len(self._accounts)


class World:
    """A PLC directory, PDSes, relays and accounts. Hosts have their ports from the beginning and answer once started.

    `cache` is a directory for large seeded CARs that later worlds of the same seed and clock take up again.
    `now_us` is what the clock shows at first: give the true time where a test counts days back from it.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        now_us: int = DEFAULT_NOW_US,
        hosts: int = 1,
        cache: Path | None = None,
        plc_port: int = 0,
        relay_port: int = 0,
    ) -> None:
        self.seed = seed
        self.clock = Clock(now_us)
        self.accounts: list[Account] = []
        self.plc = PlcDirectory(plc_port)
        self.hosts: list[Pds] = []
        self._handles = Handles(self.accounts)
        self._web_hosts: list[WebDidHost] = []
        self._started = False
        self._rng = Random(f"world/{seed}")
        self._directory = TemporaryDirectory(prefix="simulator-")
        self._cache = cache
        self.relays: list[Relay] = []
        self.relay = self.add_relay(relay_port)
        for _ in range(hosts):
            self.add_host()

    def add_host(self, port: int = 0) -> Pds:
        """A further PDS; start it yourself if the world is running already."""
        pds = Pds(f"pds{len(self.hosts)}", self._handles, port, self.clock)
        self.hosts.append(pds)
        return pds

    def add_relay(self, port: int = 0, first_seq: int = 1) -> Relay:
        """A further relay, with seqs of its own and no history; start it yourself if the world is running already."""
        name = f"relay{len(self.relays) or ''}"
        relay = Relay(name, lambda: self.accounts, lambda: self.hosts, self.clock, port=port, first_seq=first_seq)
        self.relays.append(relay)
        return relay

    def add_account(
        self,
        handle: str | None = None,
        *,
        host: Pds | None = None,
        curve: Literal["k256", "p256"] = "k256",
        method: Literal["plc", "web"] = "plc",
    ) -> Account:
        """A new account with an empty repo; hosts take turns where none is named. did:web only before the start."""
        registry: PlcDirectory | WebDidHost = self.plc
        did = did_plc(self._rng)
        if method == "web":
            registry = self._add_web_host()
            did = registry.did
        account = Account(
            did=did,
            handle=handle or self._new_handle(),
            curve=curve,
            host=host or self.hosts[len(self.accounts) % len(self.hosts)],
            registry=registry,
            clock=self.clock,
            announce=self._announce,
            seed=str(self.seed),
            directory=Path(self._directory.name),
            cache=self._cache,
        )
        self.accounts.append(account)
        return account

    def account(self, actor: str) -> Account:
        """The account of a DID or handle."""
        for account in self.accounts:
            if actor in (account.did, account.handle):
                return account
        raise KeyError(actor)

    def host(self, name: str) -> Pds | Relay:
        """The PDS or relay of a name."""
        named: dict[str, Pds | Relay] = {host.name: host for host in self.hosts}
        named |= {relay.name: relay for relay in self.relays}
        return named[name]

    def expected(self, cutoff_us: int | None = None) -> dict[str, ExpectedRepo]:
        """DID -> what an index of the whole network must know of it; see the tests' `oracle`."""
        return {account.did: account.expected_repo(cutoff_us) for account in self.accounts}

    def describe(self) -> dict[str, Any]:
        """What a program in another process must know to use this world."""
        people = [{"did": one.did, "handle": one.handle, "password": one.password} for one in self.accounts]
        urls = {"plc_url": self.plc.url, "pds_urls": [host.url for host in self.hosts], "relay_url": self.relay.url}
        return urls | {"relay_urls": [relay.url for relay in self.relays], "accounts": people}

    async def start(self) -> None:
        self._started = True
        for host in self._all_hosts():
            await host.start()

    async def stop(self) -> None:
        for host in self._all_hosts():
            await host.stop()
        self.close()

    def close(self) -> None:
        """Give back ports and files, where the world was never started."""
        for host in self._all_hosts():
            host.release()
        self._directory.cleanup()

    def __enter__(self) -> World:
        """A world that serves nothing: repos and CARs alone."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> World:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _all_hosts(self) -> list[Host]:
        return [self.plc, *self.hosts, *self.relays, *self._web_hosts]

    def _announce(self, account: Account, event: Event) -> None:
        """What an account's PDS tells, and the relays after it."""
        account.host.stream.append(event)
        for relay in self.relays:
            relay.tell(account, event)

    def _add_web_host(self) -> WebDidHost:
        if self._started:
            raise RuntimeError("a did:web needs its own host: add the account before the world starts")
        host = WebDidHost()
        self._web_hosts.append(host)
        return host

    def _new_handle(self) -> str:
        names = _NAMES.split()
        number, name = divmod(len(self.accounts), len(names))
        return f"{names[name]}{number or ''}.sim.test"
