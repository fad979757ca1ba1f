"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from headwater.egress import egress_policy
from headwater.http import GuardedHttp


@pytest.fixture
async def http() -> AsyncIterator[GuardedHttp]:
    """The guarded client as development has it: loopback is allowed."""
    async with GuardedHttp(egress_policy(allow_private_hosts=True), user_agent="headwater-test") as client:
        yield client
