"""A round trip says that the server knows what a connection was given before."""

from __future__ import annotations

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from bus_client import bus_client
from headwater.bus.round_trip import round_trip

_TIMES = 300
_SUBSCRIPTIONS = 200


async def test_what_was_subscribed_before_a_round_trip_is_answered_after_it(nats_url: str) -> None:
    async with bus_client(nats_url) as asking:
        for _ in range(_TIMES):
            async with await nats.connect(nats_url) as answering:
                subject = await _subscribe_many(answering)
                await round_trip(answering)
                # Raises NoRespondersError where the server did not know the subscription yet.
                assert (await asking.request(subject, timeout=60)).data == b"here"


async def _subscribe_many(client: Client) -> str:
    """Subscribe so much that the client holds it back for a moment; the last subject."""
    for number in range(_SUBSCRIPTIONS):
        subject = f"round.trip.{number}"
        await client.subscribe(subject, cb=_answer)
    return subject


async def _answer(message: Msg) -> None:
    await message.respond(b"here")
