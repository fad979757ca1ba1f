"""Reading what a stream holds at this moment, through a consumer that is gone afterwards."""

from __future__ import annotations

from contextlib import suppress

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import NotFoundError

_READ_SECONDS = 5.0
_PAGE = 512
# Whoever reads deletes the consumer at the end; the server forgets those whose reader has died.
_FORGET_SECONDS = 10.0


async def stored(
    js: JetStreamContext,
    stream: str,
    *subjects: str,
    first: int | None = None,
    before: int | None = None,
    headers_only: bool = False,
    most: int | None = None,
) -> list[Msg]:
    """The messages on these subjects (patterns that do not overlap) that are in the stream now, oldest first.

    Of each subject the last one; with ``first`` all whose sequence number is at least that. ``before``, a sequence
    number, and ``most``, a count, end it early. Raises nats errors.
    """
    config = ConsumerConfig(
        filter_subject=subjects[0] if len(subjects) == 1 else None,
        filter_subjects=list(subjects) if len(subjects) > 1 else None,
        deliver_policy=DeliverPolicy.LAST_PER_SUBJECT if first is None else DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=first,
        ack_policy=AckPolicy.NONE,
        headers_only=headers_only or None,
        inactive_threshold=_FORGET_SECONDS,
        mem_storage=True,
    )
    consumer = await js.add_consumer(stream, config)
    try:
        return await _read(js, stream, consumer, before, most)
    finally:
        with suppress(NotFoundError):
            await js.delete_consumer(stream, consumer.name)


async def _read(
    js: JetStreamContext, stream: str, consumer: ConsumerInfo, before: int | None, most: int | None
) -> list[Msg]:
    """What waited for the consumer when it was made, up to where it is enough."""
    messages: list[Msg] = []
    left = consumer.num_pending or 0
    if not left:
        return messages
    subscription = await js.pull_subscribe_bind(consumer=consumer.name, stream=stream)
    try:
        while left and (most is None or len(messages) < most):
            wanted = _PAGE if most is None else min(_PAGE, most - len(messages))
            try:
                messages += await subscription.fetch(min(left, wanted), timeout=_READ_SECONDS)
            except nats.errors.TimeoutError:
                break  # the rest has expired meanwhile
            left = messages[-1].metadata.num_pending
            if before is not None and messages[-1].metadata.sequence.stream >= before:
                break
    finally:
        await subscription.unsubscribe()
    return messages if before is None else [msg for msg in messages if msg.metadata.sequence.stream < before]
