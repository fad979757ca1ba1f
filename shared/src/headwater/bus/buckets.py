"""Reading many entries of a key-value bucket at once."""

from __future__ import annotations

from contextlib import suppress

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import NotFoundError
from nats.js.kv import KeyValue

_READ_SECONDS = 5.0
_PAGE = 512
# Whoever reads deletes the consumer at the end; the server forgets those whose reader has died.
_FORGET_SECONDS = 10.0


async def entries(bucket: KeyValue, pattern: str) -> list[tuple[str, bytes]]:
    """The live entries whose key matches a subject pattern (``*`` one token, ``>`` the rest), oldest first.

    Raises nats errors. Not by ``KeyValue.watch``: it now and then takes entries that are still on their way for
    none, and leaves a consumer on the server for minutes, of which frequent reads pile up to the server's limit.
    """
    js: JetStreamContext = bucket._js  # noqa: SLF001
    stream, prefix = bucket._stream, bucket._pre  # noqa: SLF001
    config = ConsumerConfig(
        filter_subject=f"{prefix}{pattern}",
        deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
        ack_policy=AckPolicy.NONE,
        inactive_threshold=_FORGET_SECONDS,
        mem_storage=True,
    )
    consumer = await js.add_consumer(stream, config)
    try:
        messages = await _read(js, stream, consumer)
    finally:
        with suppress(NotFoundError):
            await js.delete_consumer(stream, consumer.name)
    # A key that changed meanwhile comes twice; the later value counts.
    found = {msg.subject.removeprefix(prefix): msg for msg in messages}
    return [(key, msg.data) for key, msg in found.items() if not _is_deletion(msg)]


async def _read(js: JetStreamContext, stream: str, consumer: ConsumerInfo) -> list[Msg]:
    """All messages that waited for the consumer when it was made."""
    messages: list[Msg] = []
    left = consumer.num_pending or 0
    if not left:
        return messages
    subscription = await js.pull_subscribe_bind(consumer=consumer.name, stream=stream)
    try:
        while left:
            try:
                messages += await subscription.fetch(min(left, _PAGE), timeout=_READ_SECONDS)
            except nats.errors.TimeoutError:
                break  # the rest has expired meanwhile
            left = messages[-1].metadata.num_pending
    finally:
        await subscription.unsubscribe()
    return messages


def _is_deletion(msg: Msg) -> bool:
    headers = msg.headers or {}
    return "KV-Operation" in headers or "Nats-Marker-Reason" in headers
