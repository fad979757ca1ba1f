"""What is under way to the bus is bounded for the whole process: whatever is given up gives its bytes back."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import nats.errors
import pytest
from nats.js import JetStreamContext
from nats.js.errors import APIError

from headwater.bus.publish import ByteWindow, Publisher
from headwater.errors import InvariantError

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


class RefusingBus:
    """Refuses some times, then takes a message."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)

    async def publish(self, *_: object, **__: Any) -> None:
        """Raise the next error."""
        if self._errors:
            raise self._errors.pop(0)


async def test_why_a_message_waits_is_told_each_time_and_logged_when_it_is_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("headwater.long_wait.LONG_SECONDS", 0.0)
    full = APIError(code=503, err_code=10077, description="maximum messages exceeded")
    no_disk = APIError(code=503, err_code=10047, description="insufficient storage resources available")
    told: list[str] = []
    bus = RefusingBus(full, no_disk, TimeoutError(), nats.errors.ConnectionClosedError())
    await Publisher(cast("JetStreamContext", bus), 10_000, waiting=told.append).publish("records.live.3", b"", "id")
    assert told == ["stream full", "bus refuses", "bus away", "bus away"]
    said, over = caplog.messages
    assert said.startswith("publishing: waiting for 0 s: JetStream does not take records.live.3: ")
    assert "insufficient storage" in said
    assert over.startswith("publishing: goes on after ")


async def test_what_is_refused_for_good_is_a_defect_of_ours() -> None:
    bus = RefusingBus(APIError(code=400, err_code=10060, description="expected stream does not match"))
    with pytest.raises(InvariantError):
        await Publisher(cast("JetStreamContext", bus), 10_000).publish("records.live.3", b"", "id")
