"""The switch that keeps repo-backfill from taking new requests: a key in the ``control`` bucket."""

from __future__ import annotations

from typing import Final

from nats.js.errors import KeyNotFoundError

from api_gateway.bus import Bus

KEY: Final = "repo-backfill.paused"


async def is_paused(bus: Bus) -> bool:
    """Whether new requests wait. Raises nats errors."""
    try:
        await bus.control.get(KEY)
    except KeyNotFoundError:
        return False
    return True


async def pause(bus: Bus) -> None:
    """Let new requests wait; what runs goes on. Raises nats errors."""
    await bus.control.put(KEY, b"true")


async def resume(bus: Bus) -> None:
    """Take requests again. Raises nats errors."""
    await bus.control.delete(KEY)
