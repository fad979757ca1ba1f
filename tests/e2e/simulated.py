"""Simulated networks on ports that a running stack knows already."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from headwater_local.ports import take_port
from simulator import Pds, World
from simulator.host import Host


@dataclass(frozen=True)
class SimulatedPorts:
    """Where a stack looks for its network: the worlds of the tests take these ports in turn."""

    plc: int
    resolver: int
    pds: int

    @classmethod
    def choose(cls) -> SimulatedPorts:
        return cls(take_port(), take_port(), take_port())

    @property
    def variables(self) -> dict[str, str]:
        """What the stack has to be told."""
        return {"HANDLE_RESOLVER_URL": f"http://127.0.0.1:{self.resolver}"}

    @property
    def plc_url(self) -> str:
        return f"http://127.0.0.1:{self.plc}"


class SimulatedWorld(World):
    """A world of the present on given ports, with a host beside its PDSes that resolves every handle."""

    def __init__(self, seed: int, ports: SimulatedPorts, hosts: int = 2) -> None:
        # An hour back, so that the clock, which ticks at every write, does not overtake the true one.
        now_us = (int(time.time()) - 3600) * 1_000_000
        super().__init__(seed, now_us=now_us, hosts=hosts, plc_port=ports.plc)
        self._resolver = Pds("resolver", self._handles, ports.resolver, self.clock)
        # A PDS that is at the same place in every world, for an account that many worlds share.
        self.same_host = Pds("same", self._handles, ports.pds, self.clock)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    def _all_hosts(self) -> list[Host]:
        return [*super()._all_hosts(), self._resolver, self.same_host]
