"""Telling the operators of the hosts: this worker's word in the ``hosts`` bucket, every few seconds."""

from __future__ import annotations

import asyncio
import logging

import nats.errors
from nats.js.kv import KeyValue

from repo_backfill.hosts import HostLimiter

log = logging.getLogger("repo_backfill.host_reports")

_SECONDS = 3.0


async def keep_reporting(bucket: KeyValue, hosts: HostLimiter, worker_id: int) -> None:
    """Say it until cancelled. A bus that is away misses a word, which expires soon anyway."""
    while True:
        try:
            await bucket.put(str(worker_id), hosts.report(worker_id).model_dump_json().encode())
        except (nats.errors.Error, OSError) as error:
            log.debug("hosts not told: %s", error)
        await asyncio.sleep(_SECONDS)
