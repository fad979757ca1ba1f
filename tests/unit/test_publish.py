"""What is under way to the bus is bounded for the whole process: whatever is given up gives its bytes back."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from nats.js import JetStreamContext

from headwater.bus.publish import ByteWindow, Publisher

_SIZE = 100


class SlowBus:
    """Acknowledges when it is told to."""

    def __init__(self) -> None:
        self.acknowledges = asyncio.Event()
        self.published = 0

    async def publish(self, *_: object, **__: Any) -> None:
        """Wait for the word."""
        self.published += 1
        await self.acknowledges.wait()


async def send_some(publisher: Publisher, count: int) -> None:
    async with publisher.stream() as out:
        for number in range(count):
            await out.send("subject", bytes(_SIZE), f"message {number}")


async def test_a_message_that_was_given_up_before_it_began_gives_its_bytes_back() -> None:
    bus, window = SlowBus(), ByteWindow()
    with pytest.raises(KeyError):
        async with Publisher(cast("JetStreamContext", bus), 10_000, window).stream() as out:
            await out.send("subject", bytes(_SIZE), "message")
            raise KeyError
    assert (window.used, bus.published) == (0, 0)


async def test_more_than_the_window_holds_waits_and_a_larger_message_until_it_is_alone() -> None:
    bus, window = SlowBus(), ByteWindow(2 * _SIZE)
    publisher = Publisher(cast("JetStreamContext", bus), 10_000, window)
    large = asyncio.create_task(window.take(5 * _SIZE))
    await large
    job = asyncio.create_task(send_some(publisher, 6))
    for _ in range(10):
        await asyncio.sleep(0)
    assert bus.published == 0
    window.give_back(5 * _SIZE)
    while bus.published < 2:
        await asyncio.sleep(0)
    assert window.used == 2 * _SIZE
    bus.acknowledges.set()
    await job
    assert (window.used, bus.published) == (0, 6)
