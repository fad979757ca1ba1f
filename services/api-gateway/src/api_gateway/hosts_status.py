"""The hosts that the repo-backfill workers ask, as they say it themselves."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from api_gateway.bus import Bus
from headwater.bus.buckets import entries
from headwater.bus.hosts import HostsReport, HostState, HostStatus
from headwater.errors import InvariantError

_EXAMPLE: Final[dict[str, JsonValue]] = {
    "known": 1,
    "paused": 1,
    "hosts": [
        {
            "host": "https://pds.example",
            "worker_id": 0,
            "state": "paused",
            "cause": "retry_after",
            "paused_until_us": 1764374460000000,
            "running": 0,
            "waiting": 2,
            "tokens": 4.5,
            "requests": 120,
            "limit": 3000,
            "remaining": 140,
            "failures_in_a_row": 1,
            "errors": {"retry_after": 1, "not_found": 3},
            "last_error": "pds.example: status 429",
            "last_error_at_us": 1764374400000000,
        }
    ],
}


class HostList(BaseModel):
    """The hosts of all workers, the most troubled first; of each worker at most 200. Times in microseconds since 1970.

    A host that several workers ask is there once for each: each keeps its own limits.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    known: int = Field(description="hosts that the workers remember, told or not")
    paused: int = Field(description="of these, those that are left alone now")
    hosts: list[HostStatus]


async def host_list(bus: Bus) -> HostList:
    """What the workers said last. Raises nats errors, and InvariantError for a word that is none."""
    try:
        reports = [HostsReport.model_validate_json(value) for _, value in await entries(bus.hosts, "*")]
    except ValidationError as error:
        raise InvariantError(f"a malformed report of hosts: {error.error_count()} errors") from error
    hosts = [host for report in reports for host in report.hosts]
    hosts.sort(key=_rank)
    return HostList(known=sum(one.known for one in reports), paused=sum(one.paused for one in reports), hosts=hosts)


def _rank(host: HostStatus) -> tuple[bool, bool, int, int, str]:
    """Those that are left alone, then those in use, then by errors and requests."""
    paused, idle = host.state is HostState.PAUSED, host.state is HostState.IDLE
    return not paused, idle, -sum(host.errors.values()), -host.requests, host.host
