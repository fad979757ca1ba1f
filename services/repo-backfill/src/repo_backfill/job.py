"""One job's course, from the request to the indexer's word: attempts, retries, cancellation, and how it ends.

Every step can be the last before a crash. What is final is written first, told to the indexer second, and
acknowledged third; a request that comes again takes up from what is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

import nats.errors

from headwater.backoff import backoff_seconds
from headwater.bus.jobs import BackfillRequest, FetchPart, FetchState, IndexPart, IndexState
from headwater.bus.messages import Outcome, SnapshotEnd, encode
from headwater.bus.settle import Disposition, Settlement, disposition
from headwater.bus.subjects import backfill_subject
from headwater.cancelling import cancel_and_wait
from headwater.clock import now_us
from headwater.errors import InvalidInputError, InvariantError, Reason, TransientError
from repo_backfill import metrics
from repo_backfill.attempt import Attempt, DoubtfulRepoError
from repo_backfill.busy import BusyError
from repo_backfill.progress import OvertakenError, Progress
from repo_backfill.signals import JobSignals
from repo_backfill.tools import Tools

log = logging.getLogger("repo_backfill.job")

_ACK: Final = Disposition(Settlement.ACK)
_UNFINISHED: Final = (FetchState.RESOLVING, FetchState.FETCHING)
_GIVEN_UP: Final = {FetchState.FAILED: Outcome.FAILED, FetchState.CANCELLED: Outcome.CANCELLED}
_OF_INDEX: Final = {IndexState.FAILED: FetchState.FAILED, IndexState.CANCELLED: FetchState.CANCELLED}
_BUG: Final = DoubtfulRepoError(Reason.INTERNAL, "a mistake of ours, see the log", tries=2)
_FAREWELL_SECONDS = 2.0
_SOON_SECONDS = 1.0


class Job:
    """A request that this worker holds. ``begun``: some worker may have held it before.

    Where none has, its fetch part is not read, which only then could be there. Should that be wrong, the claim finds it
    out, and the job is taken up as one that was begun.
    """

    def __init__(self, tools: Tools, request: BackfillRequest, *, begun: bool = True) -> None:
        self._tools = tools
        self._request = request
        self._progress = Progress(tools.bucket, request.did, request.job_id)
        self._begun = begun
        self._claimed = False
        self._superseded = 0
        self._is_done = False

    @property
    def leaves_nothing(self) -> bool:
        """Whether nobody will ask for this job any more: it was the system's own, and brought what it should."""
        return self._is_done and self._request.requested_by == "system"

    async def forget(self) -> None:
        """Drop the job's parts. Raises nats errors."""
        await self._tools.jobs.forget(self._request.did, self._request.job_id)

    @property
    def state(self) -> str:
        """What the job is doing, for the gauges."""
        part = self._progress.part
        return part.state.value if part is not None else "resolving"

    async def run(self) -> Disposition | None:
        """Work until the job is final or has to wait; None when another worker has it now.

        Raises nats errors when the bus is away at the very beginning.
        """
        try:
            async with self._tools.switchboard.signals(self._request.did, self._request.job_id) as signals:
                settled = await self._run(signals)
        except OvertakenError:
            if not self._begun and not self._claimed:
                # Sent anew, as for a cancellation between two tries, it seems new and is not.
                self._begun = True
                self._progress = Progress(self._tools.bucket, self._request.did, self._request.job_id)
                return await self.run()
            log.warning("job %s is another worker's now", self._request.job_id)
            return None
        if settled.settlement is Settlement.ACK and self._request.car_object is not None:
            await self._tools.imports.delete(self._request.car_object)
        return settled

    async def _run(self, signals: JobSignals) -> Disposition:
        if not signals.requested:
            # The gateway publishes first and mirrors the request after that; it may have died in between.
            await self._tools.jobs.put_request(self._request)
        part = await self._progress.read() if self._begun else None
        if part is not None and part.state in _GIVEN_UP and not signals.ended:
            return await self._tell_indexer(part, signals)
        while not signals.ended:
            if part is None or part.state is not FetchState.PUBLISHED:
                settled = await self._attempt(part, signals)
                if settled is not None:
                    return settled
            part = self._progress.part
            assert part is not None
            index = await self._outcome(part, signals)
            if index.state is IndexState.SUPERSEDED:
                self._superseded += 1
                await asyncio.sleep(backoff_seconds(self._superseded, cap=30.0))
                part = await self._progress.write(state=FetchState.WAITING)
        return await self._follow_index(signals)

    async def _attempt(self, before: FetchPart | None, signals: JobSignals) -> Disposition | None:
        """Run one attempt; None when it is published (or the indexer has ended the job), else what comes of it."""
        try:
            part = await self._claim(before)
            attempt = Attempt(self._tools, self._request, self._progress, part.attempt)
            published = await self._unless_stopped(attempt.run(), signals, part.attempt)
        except InvalidInputError as error:
            return await self._give_up(signals, FetchState.FAILED, error.reason, error.detail)
        except TransientError as error:
            return await self._try_later(signals, error)
        except asyncio.CancelledError:
            await self._let_go(FetchState.WAITING, "the worker was stopped")
            raise
        except (InvariantError, OvertakenError, nats.errors.Error):
            raise
        except Exception:
            # This is the root of one account's job. What its bytes bring out in us must not end the others' jobs.
            log.exception("job %s of %s", self._request.job_id, self._request.did)
            return await self._try_later(signals, _BUG)
        if published or signals.ended:
            return None
        return await self._give_up(signals, FetchState.CANCELLED, None, None)

    async def _outcome(self, part: FetchPart, signals: JobSignals) -> IndexPart:
        """The indexer's word on a published attempt. Only where it does not come soon is it written down that all is
        published.

        A worker that dies before that leaves an unfinished attempt, whose snapshot is written, or fetched again.
        """
        if part.state is not FetchState.PUBLISHED:
            try:
                async with asyncio.timeout(_SOON_SECONDS):
                    return await signals.outcome(part.attempt)
            except TimeoutError:
                await self._progress.write(state=FetchState.PUBLISHED)
            except asyncio.CancelledError:
                await self._let_go(FetchState.PUBLISHED)
                raise
        return await signals.outcome(part.attempt)

    async def _claim(self, before: FetchPart | None) -> FetchPart:
        """Make the next attempt ours. An attempt that its worker left unfinished was a try that failed."""
        tries = 0 if before is None else before.tries + (before.state in _UNFINISHED)
        part = FetchPart(
            state=FetchState.RESOLVING,
            attempt=1 if before is None else before.attempt + 1,
            tries=tries,
            started_at_us=before.started_at_us if before is not None and before.started_at_us else now_us(),
        )
        await self._progress.write(**part.model_dump())
        self._claimed = True
        if tries >= self._tools.settings.headwater_fetch_tries:
            raise InvalidInputError(Reason.UNREACHABLE, f"{tries} tries failed, the last one with its worker")
        return part

    async def _unless_stopped(self, work: Coroutine[Any, Any, None], signals: JobSignals, number: int) -> bool:
        """Whether the work was done before the job was cancelled or ended; raises what it raises."""
        running = asyncio.create_task(work)
        stopped = asyncio.create_task(signals.stop_asked())
        try:
            await asyncio.wait((running, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not running.done() and not signals.ended_of(number):
                return False
            # Ended by the indexer means that all was published: what is left is to write that down.
            await running
            return True
        finally:
            await cancel_and_wait((running, stopped))

    async def _try_later(self, signals: JobSignals, error: TransientError) -> Disposition:
        part = self._progress.part
        assert part is not None
        if isinstance(error, BusyError):
            delay, tries, reason = error.retry_after or 1.0, part.tries, None
        else:
            tries, most, reason = part.tries + 1, self._tools.settings.headwater_fetch_tries, Reason.UNREACHABLE
            if isinstance(error, DoubtfulRepoError):
                most, reason = min(most, error.tries or most), error.reason
            if tries >= most:
                return await self._give_up(signals, FetchState.FAILED, reason, f"{tries} tries: {error.detail}")
            delay = disposition(error, tries).delay
            metrics.JOBS_RETRIED.inc()
        await self._progress.write(
            state=FetchState.WAITING,
            tries=tries,
            reason=reason,
            detail=error.detail,
            next_try_at_us=now_us() + int(delay * 1_000_000),
        )
        if await self._is_cancelled():
            return await self._give_up(signals, FetchState.CANCELLED, None, None)
        log.info("job %s waits %.1f s: %s", self._request.job_id, delay, error.detail)
        return Disposition(Settlement.NACK, delay)

    async def _is_cancelled(self) -> bool:
        """To be asked when it is written down that the job waits: whoever cancels writes that down, and looks then
        whether it waits and has to be sent at once. So one of the two sees the other."""
        did, job_id = self._request.did, self._request.job_id
        return (await self._tools.jobs.heard([(did, job_id)], "cancel"))[job_id].cancelled

    async def _give_up(
        self, signals: JobSignals, state: FetchState, reason: Reason | None, detail: str | None
    ) -> Disposition:
        part = await self._progress.write(state=state, reason=reason, detail=detail, next_try_at_us=None)
        return await self._tell_indexer(part, signals)

    async def _tell_indexer(self, part: FetchPart, signals: JobSignals) -> Disposition:
        """Let the indexer drop what it has of the job, and remember how it ended."""
        request = self._request
        state = await self._tools.indexer.repo_state(request.did)
        end = SnapshotEnd(
            did=request.did,
            job=request.job_id,
            attempt=part.attempt,
            epoch=state.epoch,
            lane=request.lane.value,
            outcome=_GIVEN_UP[part.state],
            whole=request.cutoff_us is None,
            cutoff_us=request.cutoff_us,
            # Not when this was written: the firehose may have told of the account's return in between.
            at_us=part.asked_at_us or 0,
            rejected=part.rejected,
            pds=part.pds,
            reason=part.reason.value if part.reason is not None else None,
            detail=part.detail,
        )
        message_id = f"{end.job}/{end.attempt}/{end.outcome}"
        await self._tools.publisher.publish(backfill_subject(end.did), encode(end), message_id)
        return self._ended(end.outcome.value, part.reason, part.detail)

    async def _follow_index(self, signals: JobSignals) -> Disposition:
        """The indexer has ended the job: what people see must say the same."""
        index, part = signals.index, self._progress.part
        assert index is not None
        self._is_done = index.state is IndexState.DONE
        if part is not None and index.state in _OF_INDEX and index.attempt < part.attempt:
            await self._progress.write(
                state=_OF_INDEX[index.state], reason=index.reason, detail=index.detail, next_try_at_us=None
            )
        return self._ended(_outcome(index), index.reason, index.detail)

    def _ended(self, outcome: str, reason: Reason | None, detail: str | None) -> Disposition:
        metrics.JOBS_ENDED.labels(outcome, reason.value if reason is not None else "").inc()
        request = self._request
        log.info("job %s of %s: %s %s", request.job_id, request.did, outcome, reason or "", extra=_why(detail))
        return _ACK

    async def _let_go(self, state: FetchState, detail: str | None = None) -> None:
        """The process stops in good order: what it leaves unfinished is nobody's failed try."""
        part = self._progress.part
        if part is None or part.state not in _UNFINISHED:
            return
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._progress.write(state=state, detail=detail)
        except (TimeoutError, OvertakenError, nats.errors.Error):
            return


def _outcome(index: IndexPart) -> str:
    return "unchanged" if index.unchanged else index.state.value


def _why(detail: str | None) -> dict[str, str]:
    return {"detail": detail} if detail else {}
