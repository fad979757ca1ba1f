"""The values of many keys of a bucket for one question, instead of one for each.

A direct get of several subjects (https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md):
NATS 2.11 or later, and a bucket that allows direct gets. Keys that the bucket lacks cost next to nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from contextlib import suppress
from itertools import islice
from typing import Final

import nats.errors
from nats.aio.msg import Msg
from nats.js.kv import KeyValue

from headwater.bus.buckets import is_deletion

_READ_SECONDS: Final = 5.0
# The server answers for 1,024 subjects at most.
_AT_ONCE: Final = 500
_END: Final = "204"
_NONE: Final = "404"


async def last_values(bucket: KeyValue, keys: Collection[str]) -> dict[str, bytes]:
    """The values of those of the keys that the bucket holds. Raises nats errors."""
    found: dict[str, bytes] = {}
    left = iter(keys)
    while asked := list(islice(left, _AT_ONCE)):
        found |= await _ask(bucket, asked)
    return found


async def _ask(bucket: KeyValue, keys: list[str]) -> dict[str, bytes]:
    client, prefix = bucket._js._nc, bucket._pre  # noqa: SLF001
    answer = _Answer(prefix)
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=answer.take)
    try:
        question = json.dumps({"multi_last": [prefix + key for key in keys]}).encode()
        await client.publish(f"$JS.API.DIRECT.GET.{bucket._stream}", question, reply=inbox)  # noqa: SLF001
        return await asyncio.wait_for(answer.whole, _READ_SECONDS)
    except TimeoutError:
        raise nats.errors.TimeoutError from None
    finally:
        with suppress(nats.errors.Error):
            await subscription.unsubscribe()


class _Answer:
    """A message for each key that is there, then one that says so."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._found: dict[str, bytes] = {}
        self.whole: asyncio.Future[dict[str, bytes]] = asyncio.get_running_loop().create_future()

    async def take(self, msg: Msg) -> None:
        headers = msg.headers or {}
        status = headers.get("Status")
        if self.whole.done():
            return
        if status is None:
            if not is_deletion(msg):
                self._found[headers["Nats-Subject"].removeprefix(self._prefix)] = msg.data
        elif status in (_END, _NONE):
            self.whole.set_result(self._found)
        else:
            self.whole.set_exception(nats.errors.Error(f"the keys are not told: {status} {headers.get('Description')}"))
