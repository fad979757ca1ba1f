"""Knowing that the server has all that a connection was given."""

from __future__ import annotations

from nats.aio.client import Client

ROUND_TRIP_SECONDS = 10.0


async def round_trip(client: Client, timeout: float = ROUND_TRIP_SECONDS) -> None:
    """Return when the server has all that was published and subscribed here before; ``timeout`` in seconds.

    Not ``client.flush()``: its PING goes to the socket at once, ahead of what nats-py still holds back for its
    flusher, so its answer says nothing about that. A message to oneself goes through the same queue as the rest, and
    a connection's protocol is read in order (https://docs.nats.io/reference/reference-protocols/nats-protocol).
    Raises nats errors.
    """
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    try:
        await client.publish(inbox)
        await subscription.next_msg(timeout)
    finally:
        await subscription.unsubscribe()
