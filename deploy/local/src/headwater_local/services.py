"""The four services as programs to run: their arguments, their part of the environment, their ports."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from headwater_local.errors import StackError
from headwater_local.ports import LOOPBACK, take_port
from headwater_local.program import Program

GATEWAY = "api-gateway"
# In the order in which their names are printed; they start together.
SERVICES = ("indexer", "repo-backfill", "firehose-backfill", GATEWAY)
_MOST_WORKERS = 64


@dataclass(frozen=True)
class Workers:
    """How many processes each service gets; one where nothing is said."""

    counts: Mapping[str, int]

    @classmethod
    def parse(cls, text: str) -> Workers:
        """Of ``repo-backfill=2,indexer=2``. Raises StackError that says what is wrong."""
        counts: dict[str, int] = {}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            name, _, number = part.partition("=")
            if name not in SERVICES:
                raise StackError(f"--workers: {name!r} is not one of {', '.join(SERVICES)}")
            if not number.isdecimal() or not 1 <= int(number) <= _MOST_WORKERS:
                raise StackError(f"--workers: {part!r} should be like {name}=2, at most {_MOST_WORKERS}")
            if name == GATEWAY and int(number) != 1:
                raise StackError(f"--workers: on one machine one {GATEWAY} has the port; run more behind a balancer")
            counts[name] = int(number)
        return cls(counts)

    def of(self, service: str) -> int:
        """The number of processes of ``service``."""
        return self.counts.get(service, 1)


def service_programs(workers: Workers, gateway_port: int, environment: Mapping[str, str]) -> list[Program]:
    """Every process of every service. ``environment`` is what all of them get; ports are chosen here."""
    return [
        _service_program(service, worker, workers.of(service), gateway_port, environment)
        for service in SERVICES
        for worker in range(workers.of(service))
    ]


def _service_program(
    service: str, worker: int, worker_count: int, gateway_port: int, environment: Mapping[str, str]
) -> Program:
    port = gateway_port if service == GATEWAY else take_port()
    own = {
        "WORKER_ID": str(worker),
        "WORKER_COUNT": str(worker_count),
        "GATEWAY_PORT" if service == GATEWAY else "HEALTH_PORT": str(port),
    }
    return Program(
        name=f"{service}.{worker}",
        argv=(sys.executable, "-m", service.replace("-", "_")),
        probe=lambda: _is_ready(port),
        env={**environment, **own, "PYTHONUNBUFFERED": "1"},
        health_url=f"http://{LOOPBACK}:{port}",
    )


def _is_ready(port: int) -> bool:
    connection = HTTPConnection(LOOPBACK, port, timeout=2.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
