"""Reading and writing the firehose's plan, progress and gaps on the bus."""

from __future__ import annotations

from typing import TypeVar

from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from pydantic import BaseModel, ValidationError

from headwater.bus.buckets import entries
from headwater.bus.firehose import (
    CRAWL_KEY,
    GAP_CRAWL_KEY,
    PLAN_KEY,
    REPLAY_KEY,
    CrawlProgress,
    FirehosePlan,
    Gap,
    LiveProgress,
    ReplayProgress,
    gap_key,
)
from headwater.errors import InvariantError

P = TypeVar("P", bound=BaseModel)


class FirehoseStore:
    """The firehose as it stands on the bus (see ``headwater.bus.firehose`` for who writes what).

    All methods raise nats errors when the bus is gone, and InvariantError when an entry of ours is malformed.
    """

    def __init__(self, control: KeyValue, firehose: KeyValue) -> None:
        self._control = control
        self._firehose = firehose

    async def plan(self) -> tuple[FirehosePlan | None, int]:
        """The plan, and the revision that a change of it has to follow."""
        try:
            entry = await self._control.get(PLAN_KEY)
        except KeyNotFoundError:
            return None, 0
        return _parse(FirehosePlan, entry.value, PLAN_KEY), entry.revision or 0

    async def change_plan(self, plan: FirehosePlan, follows: int) -> bool:
        """Write the plan; False when somebody else has changed it since revision ``follows``."""
        try:
            if follows:
                await self._control.update(PLAN_KEY, plan.model_dump_json().encode(), last=follows)
            else:
                await self._control.create(PLAN_KEY, plan.model_dump_json().encode())
        except KeyWrongLastSequenceError:
            return False
        return True

    async def live(self) -> list[LiveProgress]:
        """The live tails, by worker."""
        found = await self._all("live.*", LiveProgress)
        return sorted(found, key=lambda tail: tail.worker_id)

    async def gaps(self) -> list[Gap]:
        """Every gap that was ever found, oldest first."""
        return sorted(await self._all("gap.*", Gap), key=lambda gap: (gap.found_at_us, gap.gap_id))

    async def put_gap(self, gap: Gap) -> None:
        """Written by the primary worker when a gap's state changes."""
        await self._put(gap_key(gap.gap_id), gap)

    async def replay(self) -> ReplayProgress | None:
        """How far the replay is."""
        return await self._get(REPLAY_KEY, ReplayProgress)

    async def put_replay(self, progress: ReplayProgress) -> None:
        """Written by the primary worker."""
        await self._put(REPLAY_KEY, progress)

    async def crawl(self, *, of_gaps: bool = False) -> CrawlProgress | None:
        """How far the plan's crawl is, or the one that closes gaps."""
        return await self._get(GAP_CRAWL_KEY if of_gaps else CRAWL_KEY, CrawlProgress)

    async def put_crawl(self, progress: CrawlProgress) -> None:
        """Written by the primary worker."""
        await self._put(CRAWL_KEY if progress.plan_id is not None else GAP_CRAWL_KEY, progress)

    async def _put(self, key: str, part: BaseModel) -> None:
        await self._firehose.put(key, part.model_dump_json().encode())

    async def _get(self, key: str, kind: type[P]) -> P | None:
        try:
            entry = await self._firehose.get(key)
        except KeyNotFoundError:
            return None
        return _parse(kind, entry.value, key)

    async def _all(self, pattern: str, kind: type[P]) -> list[P]:
        return [_parse(kind, value, key) for key, value in await entries(self._firehose, pattern)]


def _parse(kind: type[P], value: bytes | None, key: str) -> P:
    try:
        return kind.model_validate_json(value or b"")
    except ValidationError as error:
        raise InvariantError(f"malformed {kind.__name__} at {key}: {error.error_count()} errors") from error
