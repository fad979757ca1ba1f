"""Reading many entries of a key-value bucket at once."""

from __future__ import annotations

from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.kv import KeyValue

from headwater.bus.stored import stored


async def entries(bucket: KeyValue, *patterns: str) -> list[tuple[str, bytes]]:
    """The live entries whose key matches one of the subject patterns (``*`` one token, ``>`` the rest), oldest first.

    Raises nats errors. Not by ``KeyValue.watch``: it now and then takes entries that are still on their way for
    none, and leaves a consumer on the server for minutes, of which frequent reads pile up to the server's limit.
    """
    js: JetStreamContext = bucket._js  # noqa: SLF001
    stream, prefix = bucket._stream, bucket._pre  # noqa: SLF001
    messages = await stored(js, stream, *(f"{prefix}{pattern}" for pattern in patterns))
    # A key that changed meanwhile comes twice; the later value counts.
    found = {msg.subject.removeprefix(prefix): msg for msg in messages}
    return [(key, msg.data) for key, msg in found.items() if not is_deletion(msg)]


def is_deletion(msg: Msg) -> bool:
    """Whether a message of a bucket's stream says that its key is gone."""
    headers = msg.headers or {}
    return "KV-Operation" in headers or "Nats-Marker-Reason" in headers
