"""What could not be used, kept in the DEAD_LETTERS stream for people to look at."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import nats.errors
from nats.js import JetStreamContext

from headwater.bus.subjects import dead_letter_subject
from headwater.errors import InvalidInputError, Reason, TransientError
from indexer import metrics

log = logging.getLogger("indexer.dead_letters")

_DETAIL_LENGTH = 300
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class RefusedRecord:
    """A record that Postgres will not hold, and what it said."""

    did: str
    rev: str
    collection: str
    rkey: str
    cid: str
    record: str
    error: str


class DeadLetters:
    """Keeps what was refused."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def records(self, refused: Sequence[RefusedRecord]) -> None:
        """Keep refused records: the payload is the JSON. Raises TransientError when the bus is away."""
        for one in refused:
            headers = {
                "Headwater-Did": one.did,
                "Headwater-Rev": one.rev,
                "Headwater-Collection": one.collection,
                "Headwater-Rkey": one.rkey,
                "Headwater-Cid": one.cid,
            }
            payload = one.record.encode("utf-8", "surrogatepass")
            await self._publish("record", Reason.RECORD_UNWRITABLE, payload, headers, one.error)

    async def message(self, subject: str, payload: bytes, error: InvalidInputError) -> None:
        """Keep a message that does not parse or cannot be written. Raises TransientError when the bus is away."""
        await self._publish("message", error.reason, payload, {"Headwater-Subject": subject}, error.detail)

    async def _publish(self, kind: str, reason: Reason, payload: bytes, headers: dict[str, str], detail: str) -> None:
        metrics.DEAD_LETTERS.labels(kind, reason.value).inc()
        log.warning("refused a %s: %s", kind, reason.value, extra={"detail": detail[:_DETAIL_LENGTH]})
        # Details quote strangers' bytes, and a header ends at a line break.
        plain = detail[:_DETAIL_LENGTH].encode("ascii", "backslashreplace").decode()
        headers["Headwater-Detail"] = "".join(char if char.isprintable() else "?" for char in plain)
        headers["Headwater-Size"] = str(len(payload))
        try:
            kept = payload if len(payload) <= _MAX_BYTES else b""
            await self._js.publish(dead_letter_subject(kind, reason.value), kept, headers=headers)
        except (nats.errors.Error, OSError) as error:
            raise TransientError(f"the dead letter was not kept: {error}") from error
