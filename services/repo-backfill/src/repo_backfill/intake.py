"""Taking requests off the queue, lane by lane, and keeping them alive while their jobs run.

Each lane may fill a part of the places that the worker has for jobs, so there is always room for a user's request.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue
from pydantic import ValidationError

from headwater.bus.jobs import BackfillRequest
from headwater.bus.pull import Pull
from headwater.bus.round_trip import round_trip
from headwater.bus.settle import Disposition, Settlement
from headwater.bus.streams import REQUEST_ACK_WAIT_SECONDS, STREAM_REQUESTS, request_consumer
from headwater.bus.subjects import RequestLane, request_subject
from headwater.cancelling import cancel_and_wait
from headwater.errors import Reason
from headwater.long_wait import LongWait
from headwater.service import Tasks
from repo_backfill import metrics
from repo_backfill.job import Job
from repo_backfill.tools import Tools

log = logging.getLogger("repo_backfill.intake")

PAUSED_KEY: Final = "repo-backfill.paused"
JOBS_PER_FETCH: Final = 8
"""Jobs held for each repo that may be fetched at once: the others wait for hosts, or for the indexer."""

_SHARE: Final = {RequestLane.USER: 1.0, RequestLane.RESYNC: 0.75, RequestLane.CRAWL: 0.5}
_ASKED_AT_ONCE = 8
"""A worker asks for so many requests at most: by the time that one by one takes, a busy one would be half idle."""
_LOOK_SECONDS = 1.0
_HEARTBEAT_SECONDS = REQUEST_ACK_WAIT_SECONDS / 4
_TOLD_SECONDS = 2.0
_AFTER_CRASH_SECONDS = 10.0
_SETTLE_TRIES = 3
_SETTLE_SECONDS = 2.0


class Intake:
    """The requests that this worker holds."""

    def __init__(self, client: Client, control: KeyValue, tools: Tools, tasks: Tasks) -> None:
        self._client = client
        self._control = control
        self._tools = tools
        self._tasks = tasks
        self._places = tools.settings.headwater_fetch_concurrency * JOBS_PER_FETCH
        self._held: dict[str, tuple[Msg, Job | None]] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._room = asyncio.Condition()
        self.paused = False

    def start(self) -> None:
        """Begin to take requests."""
        self._pulls = [self._tasks.start(self._pull(lane), f"intake {lane.value}") for lane in RequestLane]
        self._tasks.start(self._keep_alive(), "heartbeats")
        self._tasks.start(self._watch_pause(), "pause")

    async def stop(self) -> None:
        """Take no more, and give back what is held, for others to take at once."""
        # A pull may begin a job as it ends, so the jobs are looked at after it.
        for tasks in (self._pulls, self._jobs):
            await cancel_and_wait(tasks)
            # First the server must know that nobody pulls here, or it sends back what is given back.
            await self._told()

    async def _told(self) -> None:
        """Wait until the server knows what was said to it."""
        try:
            await round_trip(self._client, _TOLD_SECONDS)
        except (nats.errors.Error, OSError) as error:
            log.debug("the server may not know that nobody pulls: %s", error)

    def states(self) -> Counter[str]:
        """How many jobs are held, by state."""
        return Counter(job.state for _, job in self._held.values() if job is not None)

    async def _pull(self, lane: RequestLane) -> None:
        places = max(1, int(self._places * _SHARE[lane]))
        wait = LongWait(log, f"requests of lane {lane.value}")
        async with Pull(self._client, STREAM_REQUESTS, request_consumer(lane), self._begin) as pull:
            while True:
                async with self._room:
                    await self._room.wait_for(lambda: not self.paused and len(self._held) < places)
                try:
                    await pull.ask(min(_ASKED_AT_ONCE, places - len(self._held)))
                except (nats.errors.Error, OSError) as error:
                    wait.because(f"NATS: {error}")
                    await asyncio.sleep(_LOOK_SECONDS)
                else:
                    wait.over()

    def _begin(self, message: Msg) -> None:
        """Hold a request and start its job. One that comes while paused, for a pull from before, goes back."""
        self._held[message.reply] = (message, None)
        job = self._tasks.start(self._run(message), f"job {message.subject}")
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _run(self, message: Msg) -> None:
        """Run a request's job and settle its message."""
        # What is raised and not caught here ends the process; the next worker shall not follow it at once.
        settled: Disposition | None = Disposition(Settlement.NACK, _AFTER_CRASH_SECONDS)
        try:
            settled = await self._work(message)
        except asyncio.CancelledError:
            settled = Disposition(Settlement.NACK)
            raise
        except (nats.errors.Error, OSError) as error:
            log.warning("the bus was away: %s", error)
            settled = Disposition(Settlement.NACK, _LOOK_SECONDS)
        finally:
            async with self._room:
                _, job = self._held.pop(message.reply, (message, None))
                self._room.notify_all()
            if settled is not None and await _settle(message, settled) and job is not None:
                await _forget(job)

    async def _work(self, message: Msg) -> Disposition | None:
        if self.paused:
            return Disposition(Settlement.NACK, _LOOK_SECONDS)
        request = _parse(message)
        if request is None:
            reason = Reason.MESSAGE_MALFORMED
            await self._tools.dead_letters.message(message.subject, message.data, reason, "not a request")
            metrics.JOBS_ENDED.labels("failed", reason.value).inc()
            return Disposition(Settlement.ACK)
        job = Job(self._tools, request, begun=message.metadata.num_delivered != 1)
        self._held[message.reply] = (message, job)
        return await job.run()

    async def _keep_alive(self) -> None:
        while True:
            for message, _ in list(self._held.values()):
                try:
                    await message.in_progress()
                except (nats.errors.Error, OSError) as error:
                    log.debug("no heartbeat for %s: %s", message.subject, error)
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    async def _watch_pause(self) -> None:
        while True:
            try:
                paused = bool((await self._control.get(PAUSED_KEY)).value)
            except KeyNotFoundError:
                paused = False
            except (nats.errors.Error, OSError):
                paused = self.paused
            if paused is not self.paused:
                log.info("paused: no new requests are taken" if paused else "resumed")
                async with self._room:
                    self.paused = paused
                    self._room.notify_all()
            await asyncio.sleep(_LOOK_SECONDS)


def _parse(message: Msg) -> BackfillRequest | None:
    """The request in a message; None when there is none, or one for another account than the subject's."""
    try:
        request = BackfillRequest.model_validate_json(message.data)
    except ValidationError:
        return None
    return request if request_subject(request.lane, request.did) == message.subject else None


async def _forget(job: Job) -> None:
    """Drop what an ended job of the system's has left: a crawl files millions. Only after its acknowledgement."""
    if not job.leaves_nothing:
        return
    try:
        await job.forget()
    except (nats.errors.Error, OSError) as error:
        log.debug("its parts stay until they expire: %s", error)


async def _settle(message: Msg, settled: Disposition) -> bool:
    """Acknowledge or give back. When even that fails the server finds out by itself, after its ack wait."""
    for _ in range(_SETTLE_TRIES):
        try:
            if settled.settlement is Settlement.ACK:
                await message.ack_sync(timeout=_SETTLE_SECONDS)
            else:
                await message.nak(delay=settled.delay or None)
        except (nats.errors.Error, OSError) as error:
            log.debug("%s is not settled: %s", message.subject, error)
        else:
            return True
    return False
