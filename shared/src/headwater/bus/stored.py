"""Reading what a stream holds at this moment, through a consumer that is gone afterwards."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Final, Self

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import NotFoundError

_READ_SECONDS = 5.0
_PAGE = 512
_STORED: Final = "$JS.ACK."
"""With what the reply subject of a stored message begins, and that of no other word."""
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
    left = consumer.num_pending or 0
    messages: list[Msg] = []
    if not left:
        return messages
    async with _Reader(js._nc, stream, consumer.name) as reader:  # noqa: SLF001
        while left and (most is None or len(messages) < most):
            wanted = _PAGE if most is None else min(_PAGE, most - len(messages))
            page = await reader.page(min(left, wanted))
            if not page:
                break  # the rest has expired meanwhile
            messages += page
            left = page[-1].metadata.num_pending
            if before is not None and page[-1].metadata.sequence.stream >= before:
                break
    return messages if before is None else [msg for msg in messages if msg.metadata.sequence.stream < before]


class _Reader:
    """Asks a consumer for messages. Not by nats-py's ``fetch``, which takes ten times as long: a task a message."""

    def __init__(self, client: Client, stream: str, consumer: str) -> None:
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = client.new_inbox()
        self._page: list[Msg] = []
        self._wanted = 0
        self._done = asyncio.Event()

    async def page(self, size: int) -> list[Msg]:
        """The next so many messages, or as many as there are. Raises nats errors, a timeout among them."""
        self._page, self._wanted = [], size
        self._done.clear()
        question = json.dumps({"batch": size, "no_wait": True}).encode()
        await self._client.publish(self._subject, question, reply=self._inbox)
        try:
            await asyncio.wait_for(self._done.wait(), _READ_SECONDS)
        except TimeoutError:
            raise nats.errors.TimeoutError from None
        return self._page

    async def _take(self, msg: Msg) -> None:
        if msg.reply.startswith(_STORED):
            self._page.append(msg)
            if len(self._page) < self._wanted:
                return
        # Else it is the server's word that there is no more.
        self._done.set()

    async def __aenter__(self) -> Self:
        self._subscription = await self._client.subscribe(self._inbox, cb=self._take)
        return self

    async def __aexit__(self, *exc: object) -> None:
        with suppress(nats.errors.Error):
            await self._subscription.unsubscribe()
