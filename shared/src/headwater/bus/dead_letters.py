"""What could not be used, kept with its bytes in the DEAD_LETTERS stream for people to look at."""

from __future__ import annotations

from nats.js import JetStreamContext

from headwater.bus.subjects import dead_letter_subject
from headwater.errors import Reason

KEPT_BYTES = 256 * 1024
"""A longer payload is left out; its size is kept."""
_DETAIL_LENGTH = 200


async def keep_dead_letter(
    js: JetStreamContext, kind: str, reason: Reason, payload: bytes, headers: dict[str, str], detail: str
) -> None:
    """Keep a dead letter of a kind (``record``, ``message``, ``frame``). ``headers`` say where it is from.

    Raises nats errors, and OSError, when the bus is away.
    """
    # Details quote strangers' bytes, and a header ends at a line break.
    plain = detail[:_DETAIL_LENGTH].encode("ascii", "backslashreplace").decode()
    fields = {
        **headers,
        "Headwater-Detail": "".join(char if char.isprintable() else "?" for char in plain),
        "Headwater-Size": str(len(payload)),
    }
    kept = payload if len(payload) <= KEPT_BYTES else b""
    await js.publish(dead_letter_subject(kind, reason.value), kept, headers=fields)
