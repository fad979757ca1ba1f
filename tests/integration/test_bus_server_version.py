"""An old NATS server is told at the start, not by what never answers."""

from __future__ import annotations

import nats
import pytest

from headwater.bus import server_version
from headwater.bus.server_version import check_server_version
from headwater.bus.streams import apply_topology
from headwater.errors import InvariantError


@pytest.mark.parametrize("version", [(2, 11), (2, 15), (3, 0), (0, 0)])
def test_these_will_do(version: tuple[int, int]) -> None:
    check_server_version(*version)


@pytest.mark.parametrize("version", [(2, 10), (2, 0), (1, 99)])
def test_these_are_too_old(version: tuple[int, int]) -> None:
    with pytest.raises(InvariantError, match=r"is too old: 2\.11 or later is needed"):
        check_server_version(*version)


async def test_nothing_is_declared_on_a_server_that_is_too_old(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_version, "OLDEST", (99, 0))
    async with await nats.connect(nats_url) as client:
        js = client.jetstream()
        with pytest.raises(InvariantError, match="is too old: 99"):
            await apply_topology(js)
        assert await js.streams_info() == []
