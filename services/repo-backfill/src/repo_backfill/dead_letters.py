"""What could not be used, kept with its bytes in the DEAD_LETTERS stream for people to look at."""

from __future__ import annotations

import asyncio
import logging

import nats.errors
from nats.js import JetStreamContext

from headwater.bus.dead_letters import keep_dead_letter
from headwater.cid import cid_text
from headwater.errors import Reason
from repo_backfill.snapshot import Refused

log = logging.getLogger("repo_backfill.dead_letters")

KEPT_PER_JOB = 100
"""Of one job's refused records so many are kept; all are counted. One hostile repo must not push out all others'."""


class DeadLetters:
    """Keeps what was refused. Best effort: a bus that is away loses a letter, never a job."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def records(self, did: str, rev: str, job_id: str, refused: list[Refused]) -> None:
        """Keep refused records. The payload is the record's block, empty where it is missing or large."""
        await asyncio.gather(*(self._record(did, rev, job_id, one) for one in refused))

    async def message(self, subject: str, payload: bytes, reason: Reason, detail: str) -> None:
        """Keep a message of ours that does not parse."""
        await self._publish("message", reason, payload, {"Headwater-Subject": subject}, detail)

    async def _record(self, did: str, rev: str, job_id: str, refused: Refused) -> None:
        headers = {
            "Headwater-Did": did,
            "Headwater-Rev": rev,
            "Headwater-Job": job_id,
            "Headwater-Collection": refused.collection,
            "Headwater-Rkey": refused.rkey,
            "Headwater-Cid": cid_text(refused.cid),
        }
        await self._publish("record", refused.reason, refused.block or b"", headers, refused.detail)

    async def _publish(self, kind: str, reason: Reason, payload: bytes, headers: dict[str, str], detail: str) -> None:
        try:
            await keep_dead_letter(self._js, kind, reason, payload, headers, detail)
        except (nats.errors.Error, OSError) as error:
            log.warning("a dead letter was lost: %s", error)
